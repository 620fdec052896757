"""What must hold between the entries of a manifest: ValueError where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jointdnn_tvm.runtime.bundle_names import SIDES, library_name, state_name, weights_name
from jointdnn_tvm.runtime.training_entry import TrainingEntry

if TYPE_CHECKING:
    from jointdnn_tvm.runtime.manifest import Manifest


def check_manifest(manifest: Manifest) -> None:
    """Names are not used twice, every tensor is made before it is read, every file is known."""
    _check_names(manifest)
    _check_references(manifest)
    _check_libraries(manifest)


def _check_names(manifest: Manifest) -> None:
    for what, names in (
        ("inputs", [p.name for p in manifest.inputs]),
        ("outputs", [p.name for p in manifest.outputs]),
        ("stages", [s.name for s in manifest.stages]),
    ):
        if len(set(names)) != len(names):
            raise ValueError(f"two {what} have one name")


def _check_references(manifest: Manifest) -> None:
    """Every tensor that a stage reads must be there when the stage runs."""
    training = manifest.training
    there = {p.tensor for p in manifest.inputs} | set(training.given() if training else ())
    for stage in manifest.stages:
        if missing := [t for t in stage.inputs if t not in there]:
            raise ValueError(f"stage {stage.name!r} reads {missing[0]!r}, which nothing made")
        there |= set(stage.outputs)
    if missing := [p.tensor for p in manifest.outputs if p.tensor not in there]:
        raise ValueError(f"output {missing[0]!r} is made by no stage")
    if unknown := sorted(there - manifest.tensors.keys()):
        raise ValueError(f"tensor {unknown[0]!r} has no shape")
    if training is not None:
        _check_carried(manifest, training)
        _check_residuals(manifest, training)
        if training.scores is not None and training.scores.tensor not in there:
            raise ValueError(f"scores {training.scores.tensor!r} are made by no stage")


def _check_carried(manifest: Manifest, training: TrainingEntry) -> None:
    """Every new value is made where it lives, and is like the present one."""
    made = {(t, stage.side) for stage in manifest.stages for t in stage.outputs}
    for carried in training.carried:
        if (carried.new, carried.home) not in made:
            raise ValueError(f"no stage on its side makes the next value of {carried.tensor!r}")
        now, new = manifest.tensors[carried.tensor], manifest.tensors[carried.new]
        if (now.shape, now.dtype) != (new.shape, new.dtype):
            raise ValueError(f"the next value of {carried.tensor!r} is not like the present one")


def _check_residuals(manifest: Manifest, training: TrainingEntry) -> None:
    """What is left of a gradient is kept where that is made, under a name of its own."""
    made = {(t, stage.side) for stage in manifest.stages for t in stage.outputs}
    taken = {t for stage in manifest.stages for t in (*stage.inputs, *stage.outputs)}
    for residual in training.residuals:
        if (residual.tensor, residual.home) not in made:
            raise ValueError(f"no stage on its side makes the gradient {residual.tensor!r}")
        kept = manifest.tensors.get(residual.kept)
        if residual.kept in taken or kept is None:
            raise ValueError(f"what is left of {residual.tensor!r} has no place")
        gradient = manifest.tensors[residual.tensor]
        if (kept.shape, kept.dtype) != (gradient.shape, gradient.dtype):
            raise ValueError(f"what is left of {residual.tensor!r} is not like it")
    if len(set(training.state)) != len(training.state):
        raise ValueError("two tensors of the state have one name")


def _check_libraries(manifest: Manifest) -> None:
    """Nothing is loaded that has no checksum, or whose weights are not told."""
    for side in SIDES:
        for name in (library_name(side), weights_name(side)):
            if manifest.stages_on(side) and name not in manifest.files:
                raise ValueError(f"{name} has no checksum")
        if manifest.state_on(side) and state_name(side) not in manifest.files:
            raise ValueError(f"{state_name(side)} has no checksum")
        for stage in manifest.stages_on(side):
            if side not in stage.weights:
                raise ValueError(f"stage {stage.name!r} has no weights for the {side} side")
