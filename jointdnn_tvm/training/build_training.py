"""A step of training and a placement of its groups to a bundle that trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from jointdnn_tvm import __version__
from jointdnn_tvm.building import compile_halves, stage_entries, tensor_entries
from jointdnn_tvm.bundle import Bundle, Half
from jointdnn_tvm.codec.registry import CODECS
from jointdnn_tvm.compiling import pass_context
from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.graph import Placement, Tensor, split_into_stages
from jointdnn_tvm.passes.pipeline import partitioning_exactly
from jointdnn_tvm.placement import PLAIN, Side
from jointdnn_tvm.runtime.manifest import Manifest, Port
from jointdnn_tvm.runtime.training_entry import (
    Carried,
    Label,
    Residual,
    Scores,
    Source,
    TrainingEntry,
)
from jointdnn_tvm.targets import TargetProfile
from jointdnn_tvm.training.residuals import with_residuals
from jointdnn_tvm.training.step import TrainingStep
from jointdnn_tvm.training.step_tensors import step_tensors

Array = np.ndarray[Any, Any]


def build_training(
    step: TrainingStep,
    placement: Placement,
    *,
    mobile: TargetProfile,
    cloud: TargetProfile,
    codecs: Mapping[str, str] | None = None,
    fallback: bool = True,
    plan: Mapping[str, Any] | None = None,
    dump_ir: Path | None = None,
) -> Bundle:
    """Compile the stages of a step, one library a side.

    Args:
        step: what is trained, and how.
        placement: a side for each group of `step.graph`. A carried tensor lives where the group is
            that makes its next value.
        mobile: the target of that side.
        cloud: the target of the other.
        codecs: of tensors that cross, by name; a carried tensor has that of its present value,
            which must be exact. Gradients whose codec loses bits have error feedback.
        fallback: whether the mobile can run every stage, and begin a run alone.
        plan: what the bundle says about the placement.
        dump_ir: a folder that then holds the module after each pass.

    Raises:
        ProblemError: the placement is not one of this step, or a codec none for its tensor.
        BuildError: a side cannot be compiled.
    """
    graph = step.graph
    stages = split_into_stages(graph, placement)
    kept = with_residuals(step, placement, codecs or {})
    entry = _training_entry(step, placement, kept)
    chosen = _with_next_values(entry, codecs or {})
    with pass_context(dump_ir / "partitioning" if dump_ir else None):
        module = partitioning_exactly(placement)(step.grouped)
    profiles: dict[Side, TargetProfile] = {"mobile": mobile, "cloud": cloud}
    halves, taken = compile_halves(
        module, stages, step.weights, profiles, fallback=fallback, dump_ir=dump_ir
    )
    inputs = [Port(s.name, t) for s, t in zip(step.inputs, graph.inputs, strict=False)]
    tensors = tensor_entries(graph, stages, chosen, {})
    tensors |= {r.kept: replace(tensors[r.tensor], codec=PLAIN) for r in entry.residuals}
    manifest = Manifest(
        network=step.name,
        versions={"jointdnn_tvm": __version__, "tvm": tvm.__version__},
        targets={"mobile": mobile.name, "cloud": cloud.name},
        inputs=tuple(inputs),
        outputs=(Port("loss", entry.loss),),
        tensors=tensors,
        stages=stage_entries(stages, taken),
        fallback=fallback,
        plan={"placement": dict(placement), **(plan or {})},
        files={},
        training=entry,
    )
    _check_codecs(manifest)
    return Bundle(
        manifest, {side: _with_state(h, side, manifest, step) for side, h in halves.items()}
    )


def _training_entry(
    step: TrainingStep, placement: Placement, kept: Sequence[Tensor]
) -> TrainingEntry:
    """What the parameters and results of `main` are, by their places."""
    graph = step.graph
    params = iter(graph.inputs[len(step.inputs) :])
    masks = tuple(replace(mask, name=next(params)) for mask in step.masks)
    label = None if step.label is None else Label(next(params), step.label.classes)
    numbers = {name: next(params) for name in step.numbers}
    names = step_tensors(step)
    producers = {tensor.name: tensor.producer for tensor in graph.tensors}
    sources = {tensor.name: Source(tensor.source, tensor.form) for tensor in step.stored}
    carried = []
    for tensor, value in zip(params, names.new_state, strict=True):
        producer = producers[value]
        assert producer is not None  # a result that is a parameter has a group of its own
        home = placement[producer]
        carried.append(Carried(tensor, value, home, sources.get(tensor)))
    return TrainingEntry(
        *(names.loss, label, masks, numbers, step.step_numbers, tuple(carried)),
        residuals=tuple(_residual(tensor, step, placement) for tensor in kept),
        scores=_scores(step),
    )


def _residual(tensor: Tensor, step: TrainingStep, placement: Placement) -> Residual:
    taken = {t.name for t in step.graph.tensors}
    kept = f"{tensor.name}_residual"
    while kept in taken:
        kept += "_"
    assert tensor.producer is not None
    return Residual(tensor.name, kept, placement[tensor.producer])


def _scores(step: TrainingStep) -> Scores | None:
    for tensor in step_tensors(step).scores:
        assert step.label is not None
        assert step.label.class_axis is not None
        return Scores(tensor, step.label.class_axis)
    return None


def _with_next_values(entry: TrainingEntry, codecs: Mapping[str, str]) -> dict[str, str]:
    """A carried tensor goes down as its next value, up as its present one."""
    given = {c.new: codecs[c.tensor] for c in entry.carried if c.tensor in codecs}
    return {**codecs, **given}


def _check_codecs(manifest: Manifest) -> None:
    assert manifest.training is not None
    carried = {t for c in manifest.training.carried for t in (c.tensor, c.new)}
    for name, entry in manifest.tensors.items():
        codec = CODECS.get(entry.codec)
        if codec is None or entry.dtype not in codec.dtypes:
            raise ProblemError(f"codec {entry.codec!r} is none for tensor {name!r} ({entry.dtype})")
        if name in carried and not codec.exact:
            raise ProblemError(
                f"codec {entry.codec!r} loses bits of {name!r}, which one step makes for the "
                "next; use an exact one"
            )


def _with_state(half: Half, side: Side, manifest: Manifest, step: TrainingStep) -> Half:
    """With the first values of the side's state; those that are zeros need no place."""
    names = manifest.state_on(side)
    kept = {name: step.weights[name] for name in names if name in step.weights}
    first = {name: array for name, array in kept.items() if array.any()}
    return replace(half, state=first) if names else half
