"""Losses: how far an output is from its label, as Relax operators; the mean over all elements."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from tvm import relax

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.passes.layouts import dims, rank
from jointdnn_tvm.training.labels import LabelSpec

op = relax.op


_NAME = "label"


class Loss(Protocol):
    """A number to be made small."""

    def label(self, output: Any) -> LabelSpec | None:
        """The labels for an output; None: it takes none."""

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The loss, a scalar of the output's dtype."""

    def scores(self, builder: relax.BlockBuilder, output: Any) -> Any:
        """What the loss reads of classes, along the `class_axis` of its labels; None: of none."""


@dataclass(frozen=True)
class CrossEntropy:
    """Of class ids (int64), one for each row of scores; scores along `axis` of the output.

    An output of softmax is taken before it: scores are logits. As in
    `torch.nn.functional.cross_entropy`.
    """

    axis: int = 1

    def label(self, output: Any) -> LabelSpec:
        """One id in place of each row of scores."""
        axis, extents = _axis_of_classes(output, self.axis), dims(output)
        shape = (*extents[:axis], *extents[axis + 1 :])
        return LabelSpec(_NAME, shape, "int64", extents[axis], axis)

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The mean over rows of the logarithm of one over the class's probability."""
        axis, dtype = self.axis % rank(output), str(output.ty.dtype)
        classes = np.arange(dims(output)[axis])
        along = classes.reshape([-1 if i == axis else 1 for i in range(rank(output))])
        rows = builder.emit(op.expand_dims(label, axis))
        hot = op.astype(op.equal(rows, relax.const(along, "int64")), dtype)
        return _soft_cross_entropy(builder, output, hot, axis)

    def scores(self, builder: relax.BlockBuilder, output: Any) -> Any:
        """The logits."""
        return _logits(builder, output, self.axis % rank(output))


@dataclass(frozen=True)
class SoftCrossEntropy:
    """Of a probability for each class, in the shape of the output; otherwise `CrossEntropy`."""

    axis: int = 1

    def label(self, output: Any) -> LabelSpec:
        """As the output."""
        return replace(_as(output), class_axis=_axis_of_classes(output, self.axis))

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The mean over rows of the cross entropy."""
        return _soft_cross_entropy(builder, output, label, self.axis % rank(output))

    def scores(self, builder: relax.BlockBuilder, output: Any) -> Any:
        """The logits."""
        return _logits(builder, output, self.axis % rank(output))


def _as(output: Any) -> LabelSpec:
    return LabelSpec(_NAME, tuple(dims(output)), str(output.ty.dtype))


def _axis_of_classes(output: Any, axis: int) -> int:
    count = rank(output)
    if not -count <= axis < count:
        raise ModelError(
            f"an output of shape {dims(output)} has no dimension {axis} for the scores of classes; "
            "choose another dimension, or another loss"
        )
    return axis % count


def _soft_cross_entropy(builder: relax.BlockBuilder, output: Any, wanted: Any, axis: int) -> Any:
    logarithms = builder.emit(op.nn.log_softmax(_logits(builder, output, axis), axis))
    rows = op.sum(builder.emit(op.multiply(wanted, logarithms)), [axis])
    return op.negative(op.mean(builder.emit(rows)))


def _logits(builder: relax.BlockBuilder, output: Any, axis: int) -> Any:
    made: Any = builder.lookup_binding(output)
    if getattr(getattr(made, "op", None), "name", "") != "relax.nn.softmax":
        return output
    return made.args[0] if int(made.attrs.axis) % rank(output) == axis else output


@dataclass(frozen=True)
class MeanSquaredError:
    """The mean square of the difference."""

    def label(self, output: Any) -> LabelSpec:
        """As the output."""
        return _as(output)

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The mean over all elements."""
        difference = builder.emit(op.subtract(output, label))
        return op.mean(op.multiply(difference, difference))

    def scores(self, builder: relax.BlockBuilder, output: Any) -> None:
        """There are no classes."""


@dataclass(frozen=True)
class MeanAbsoluteError:
    """The mean size of the difference (L1)."""

    def label(self, output: Any) -> LabelSpec:
        """As the output."""
        return _as(output)

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The mean over all elements."""
        return op.mean(op.abs(op.subtract(output, label)))

    def scores(self, builder: relax.BlockBuilder, output: Any) -> None:
        """There are no classes."""


@dataclass(frozen=True)
class Huber:
    """Half the square of a difference up to `delta`, and as steep as there beyond.

    As `torch.nn.functional.huber_loss`.
    """

    delta: float = 1.0

    def label(self, output: Any) -> LabelSpec:
        """As the output."""
        return _as(output)

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The mean over all elements."""
        dtype = str(output.ty.dtype)
        size = builder.emit(op.abs(op.subtract(output, label)))
        near = builder.emit(op.minimum(size, relax.const(self.delta, dtype)))
        # near * (size - near / 2): half the square, or the line that goes on from it.
        return op.mean(near * (size - near * relax.const(0.5, dtype)))

    def scores(self, builder: relax.BlockBuilder, output: Any) -> None:
        """There are no classes."""


@dataclass(frozen=True)
class OwnLoss:
    """The output is a loss already; what it needs of labels is among the network's inputs."""

    def label(self, output: Any) -> None:
        """None are taken."""

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The output itself, or the mean where it has many elements."""
        return op.mean(output)

    def scores(self, builder: relax.BlockBuilder, output: Any) -> None:
        """There are no classes."""


LOSSES: dict[str, type[Loss]] = {
    "cross-entropy": CrossEntropy,
    "soft-cross-entropy": SoftCrossEntropy,
    "mse": MeanSquaredError,
    "l1": MeanAbsoluteError,
    "huber": Huber,
    "own": OwnLoss,
}
"""By the names that a user gives."""


def loss_named(name: str, class_axis: int = 1) -> Loss:
    """The loss of a name, over scores of classes along this dimension where it has any.

    Raises:
        ModelError: there is none of this name.
    """
    if name not in LOSSES:
        raise ModelError(f"no loss is named '{name}'; there are {', '.join(LOSSES)}")
    kind = LOSSES[name]
    if kind in (CrossEntropy, SoftCrossEntropy):
        return kind(class_axis)
    return kind()
