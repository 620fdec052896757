"""Inputs to calibrate on: the user's own from a file or folder, or seeded random ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.host_network import Sample
from jointdnn_tvm.network import Network, TensorSpec

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Samples:
    """Inputs of a network, whether they are real, and where they are from."""

    inputs: tuple[Sample, ...]
    real: bool
    source: str


def random_sample(network: Network, seed: int = 0) -> Samples:
    """Seeded noise; whole numbers are 0, which is a valid index."""
    rng = np.random.default_rng(seed)
    tensors = zip(network.graph.inputs, network.inputs, strict=True)
    sample = {name: _noise(spec, rng) for name, spec in tensors}
    return Samples((sample,), False, "noise as input, give --calibrate for real ones")


def read_samples(path: str | Path, network: Network) -> Samples:
    """Samples of a `.npz` file, or of every `.npz` and `.npy` file of a folder.

    A `.npz` file holds an array for each input, by its name: one sample in the input's own shape,
    or several along one more axis in front. A `.npy` file is for a network with one input.
    ModelError says what does not fit the network.
    """
    path = Path(path)
    files = sorted(p for p in path.glob("*") if p.suffix in (".npy", ".npz"))
    if path.is_file():
        files = [path]
    inputs = tuple(sample for file in files for sample in _read(file, network))
    if not inputs:
        raise ModelError(f"there are no calibration samples at {path}; give a .npz file or folder")
    return Samples(inputs, True, f"{len(inputs)} samples of {path.name}")


def _noise(spec: TensorSpec, rng: np.random.Generator) -> Array:
    if spec.dtype.startswith("float"):
        return np.asarray(rng.standard_normal(spec.shape)).astype(spec.dtype)
    return np.zeros(spec.shape, spec.dtype)


def _read(file: Path, network: Network) -> Iterator[Sample]:
    names = [spec.name for spec in network.inputs]
    try:
        with file.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            arrays = dict(loaded) if file.suffix == ".npz" else {names[0]: loaded}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ModelError(f"calibration file {file} cannot be read ({error})") from error
    if arrays.keys() != set(names):
        raise ModelError(
            f"calibration file {file} holds {', '.join(sorted(arrays)) or 'nothing'}; the network "
            f"takes {', '.join(names)}"
        )
    stacks = [_stacked(file, spec, arrays[spec.name]) for spec in network.inputs]
    if len({len(stack) for stack in stacks}) > 1:
        raise ModelError(f"calibration file {file} has more samples of one input than of another")
    for row in zip(*stacks, strict=True):
        yield dict(zip(network.graph.inputs, row, strict=True))


def _stacked(file: Path, spec: TensorSpec, array: Array) -> Array:
    """Along a first axis, one sample an index."""
    one = array.shape == spec.shape
    if not (one or array.shape[1:] == spec.shape) or array.dtype.name != spec.dtype:
        raise ModelError(
            f"calibration file {file}: input {spec.name!r} is {array.dtype.name}"
            f"{list(array.shape)}; the network takes {spec.dtype}{list(spec.shape)}, or several "
            "of these along one more axis in front"
        )
    return array[None] if one else array
