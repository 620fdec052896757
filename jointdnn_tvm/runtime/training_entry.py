"""What a bundle that trains needs to know beside its stages: the `training` part of a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jointdnn_tvm.runtime.form import Form, Move
from jointdnn_tvm.runtime.masks import DropoutMask
from jointdnn_tvm.runtime.parsing import as_count, as_share, as_table, as_text, as_whole
from jointdnn_tvm.runtime.step_numbers import StepNumbers


@dataclass(frozen=True)
class Source:
    """A weight of the ONNX file, and the form in which it is stored."""

    name: str
    form: Form


@dataclass(frozen=True)
class Carried:
    """A value that one step makes for the next: of a weight, a statistic, or of the optimizer."""

    tensor: str
    """The present value, which stages read."""
    new: str
    """The new one, which a stage makes."""
    home: str
    """The side that makes it, where it lives."""
    source: Source | None
    """None: the optimizer's."""


@dataclass(frozen=True)
class Residual:
    """What a codec left of a gradient in the steps before, which is sent with the next one."""

    tensor: str
    """The gradient."""
    kept: str
    """What is left of it, in the state."""
    home: str
    """The side that sends the gradient."""


@dataclass(frozen=True)
class Scores:
    """An output of the network that has a score for each class."""

    tensor: str
    axis: int
    """Along which the classes are."""


@dataclass(frozen=True)
class Label:
    """What the loss compares an output with."""

    tensor: str
    classes: int | None
    """How many classes there are, where labels are ids of classes, from 0 on."""


@dataclass(frozen=True)
class TrainingEntry:
    """The tensors of a step that are no inputs of a network."""

    loss: str
    label: Label | None
    """None: the loss takes no labels."""
    masks: tuple[DropoutMask, ...]
    numbers: Mapping[str, str]
    """The tensors of the optimizer's numbers, by their names."""
    optimizer: StepNumbers
    carried: tuple[Carried, ...]
    residuals: tuple[Residual, ...] = ()
    scores: Scores | None = None
    """What tells which answers are right, where the loss is one of classes."""

    @property
    def state(self) -> tuple[str, ...]:
        """All tensors that a step leaves to the next one."""
        carried = (carried.tensor for carried in self.carried)
        return (*carried, *(residual.kept for residual in self.residuals))

    def given(self) -> Iterator[str]:
        """Tensors that are there before a step, beside the inputs."""
        if self.label is not None:
            yield self.label.tensor
        yield from (mask.name for mask in self.masks)
        yield from self.numbers.values()
        yield from (carried.tensor for carried in self.carried)


def parse_training(document: Any) -> TrainingEntry:
    """Read the entry; KeyError, TypeError or ValueError when it is none."""
    label, optimizer, scores = (document[key] for key in ("label", "optimizer", "scores"))
    return TrainingEntry(
        loss=as_text(document["loss"]),
        label=None if label is None else _parse_label(label),
        masks=tuple(_parse_mask(mask) for mask in document["masks"]),
        numbers={n: as_text(t) for n, t in as_table(document["numbers"]).items()},
        optimizer=_parse_optimizer(optimizer),
        carried=tuple(_parse_carried(carried) for carried in document["carried"]),
        residuals=tuple(_parse_residual(residual) for residual in document["residuals"]),
        scores=None if scores is None else _parse_scores(scores),
    )


def _parse_mask(mask: Any) -> DropoutMask:
    shape = tuple(as_whole(extent) for extent in mask["shape"])
    return DropoutMask(as_text(mask["name"]), shape, as_share(mask["ratio"]))


def _parse_label(label: Any) -> Label:
    classes = label["classes"]
    return Label(as_text(label["tensor"]), None if classes is None else as_count(classes))


def _parse_optimizer(optimizer: Any) -> StepNumbers:
    betas, count = optimizer["betas"], as_count(optimizer["accumulate"])
    if betas is None:
        return StepNumbers(accumulate=count)
    first, second = betas
    return StepNumbers((as_share(first), as_share(second)), count)


def _parse_carried(carried: Any) -> Carried:
    source = carried["source"]
    return Carried(
        tensor=as_text(carried["tensor"]),
        new=as_text(carried["new"]),
        home=as_text(carried["home"]),
        source=None if source is None else _parse_source(source),
    )


def _parse_residual(residual: Any) -> Residual:
    tensor, kept, home = (as_text(residual[key]) for key in ("tensor", "kept", "home"))
    return Residual(tensor, kept, home)


def _parse_scores(scores: Any) -> Scores:
    return Scores(as_text(scores["tensor"]), as_whole(scores["axis"]))


def _parse_source(source: Any) -> Source:
    form = as_table(source["form"])
    shape = tuple(as_whole(extent) for extent in form["shape"])
    return Source(as_text(source["name"]), Form(shape, tuple(map(_parse_move, form["steps"]))))


def _parse_move(move: Any) -> Move:
    kind, dims = move
    if kind not in ("order", "shape"):
        raise ValueError(f"no weight is stored by a new {str(kind)[:40]!r}")
    return kind, tuple(as_whole(extent) for extent in dims)
