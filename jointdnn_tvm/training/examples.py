"""What a network is trained on: arrays of examples, from a file or a folder, in batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from jointdnn_tvm.errors import RunError
from jointdnn_tvm.network import TensorSpec
from jointdnn_tvm.training.check_arrays import check_classes
from jointdnn_tvm.training.labels import LabelSpec
from jointdnn_tvm.training.step import TrainingStep

Array = np.ndarray[Any, Any]
Batch = tuple[dict[str, Array], "Array | None"]
"""Inputs by name, and labels where the loss takes some."""


@dataclass(frozen=True)
class Examples:
    """Arrays by name, each with an example for every index of its first dimension."""

    arrays: Mapping[str, Array]
    inputs: tuple[TensorSpec, ...]
    """What a step takes of them, and its `label`."""
    label: LabelSpec | None

    def __len__(self) -> int:
        return len(self.arrays[self.inputs[0].name])

    @property
    def batch_size(self) -> int:
        """How many of them a step takes."""
        return self.inputs[0].shape[0]

    def first(self, count: int) -> Examples:
        """The first so many of them."""
        return replace(self, arrays={name: a[:count] for name, a in self.arrays.items()})

    def pick(self, places: Array) -> Batch:
        """Those at these places, as a step takes them."""
        inputs = {spec.name: self._picked(spec, places) for spec in self.inputs}
        return inputs, None if self.label is None else self._picked(self.label, places)

    def _picked(self, spec: TensorSpec, places: Array) -> Array:
        return self.arrays[spec.name][places].astype(spec.dtype, copy=False)


def read_examples(path: Path, step: TrainingStep) -> Examples:
    """Examples of a `.npz` file, or of all those of a folder, one after the other.

    A file holds an array for each input of the network, by its name, and `label` where the loss
    takes labels; the first dimension of all of them is the examples.

    Raises:
        RunError: a file cannot be read or does not fit the step, or there is no example.
    """
    specs = _specs(step)
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files:
        raise RunError(f"there is no .npz file in {path}; write some with numpy.savez")
    parts = [_read(file, specs) for file in files]
    arrays = parts[0]
    if len(parts) > 1:
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in specs}
    examples = Examples(arrays, step.inputs, step.label)
    if not len(examples):
        raise RunError(f"{path} holds no example")
    return examples


def _specs(step: TrainingStep) -> dict[str, TensorSpec]:
    """What a step takes, by name; RunError unless all of it is batches of one size."""
    specs: list[TensorSpec] = [*step.inputs, *([] if step.label is None else [step.label])]
    size = specs[0].shape[:1]
    for spec in specs:
        if not spec.shape or spec.shape[:1] != size:
            raise RunError(
                f"the first dimension of '{spec.name}', {list(spec.shape)}, is not that of the "
                f"examples in '{specs[0].name}', {list(specs[0].shape)}; choose another loss, "
                "output or --class-axis"
            )
    return {spec.name: spec for spec in specs}


def _read(file: Path, specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    arrays = _load(file)
    for name, spec in specs.items():
        if name not in arrays:
            raise RunError(
                f"{file} has no array '{name}'; it holds {', '.join(arrays) or 'nothing'}, and "
                f"training takes {', '.join(specs)}"
            )
        _check(file, arrays[name], spec)
    counts = {name: len(arrays[name]) for name in specs}
    (first, count), *_ = counts.items()
    for name, other in counts.items():
        if other != count:
            raise RunError(f"{file} has {count} examples of '{first}', but {other} of '{name}'")
    return {name: arrays[name] for name in specs}


def _load(file: Path) -> dict[str, Array]:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as loaded:
            return dict(loaded)
    except (OSError, ValueError, EOFError, BadZipFile, TypeError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise RunError(
            f"{file} is no .npz file of plain arrays ({reason}); write it with numpy.savez"
        ) from error


def _check(file: Path, array: Array, spec: TensorSpec) -> None:
    """RunError unless a step takes some of the array; its dtype may be a narrower one."""
    fits = array.ndim == len(spec.shape) and array.shape[1:] == spec.shape[1:]
    if not fits or not np.can_cast(array.dtype, spec.dtype, "safe"):
        wanted = ", ".join(["N", *map(str, spec.shape[1:])])
        raise RunError(
            f"{file}: '{spec.name}' is {array.dtype} of {list(array.shape)}; training takes "
            f"{spec.dtype} of [{wanted}], N being the examples"
        )
    if isinstance(spec, LabelSpec) and spec.classes is not None:
        check_classes(array, spec.name, spec.classes)
