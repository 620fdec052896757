"""Network inputs from files or a seed, outputs to files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.errors import RunError

Arrays = dict[str, np.ndarray[Any, Any]]
Signature = Sequence[tuple[str, tuple[int, ...], str]]  # name, shape, dtype


def read_inputs(signature: Signature, given: Sequence[str], seed: int = 0) -> Arrays:
    """Read each ``NAME=FILE.npy``; inputs that are not given are drawn from a seeded generator."""
    names = [name for name, _, _ in signature]
    arrays = random_inputs(signature, seed)
    for text in given:
        name, separator, file = text.rpartition("=")
        if not separator:
            raise RunError(f"--input {text!r} is not NAME=FILE.npy")
        if name not in names:
            raise RunError(f"the network has no input {name!r}; it has {', '.join(names)}")
        arrays[name] = _read_array(file)
    return arrays


def _read_array(file: str) -> np.ndarray[Any, Any]:
    try:
        with open(file, "rb") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except Exception as error:  # NumPy has many kinds for a damaged header
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise RunError(
            f"{file} is no .npy file of one array ({reason}); write it with numpy.save"
        ) from error


def random_inputs(signature: Signature, seed: int) -> Arrays:
    """Draw normal numbers for floats, small ones for integers, coin flips for booleans."""
    generator = np.random.default_rng(seed)
    arrays: Arrays = {}
    for name, shape, dtype in signature:
        kind = np.dtype(dtype).kind
        if kind == "f":
            arrays[name] = generator.standard_normal(shape).astype(dtype)
        elif kind == "b":
            arrays[name] = generator.random(shape) < 0.5
        else:
            arrays[name] = generator.integers(0, 2, shape).astype(dtype)
    return arrays


def write_outputs(folder: Path, outputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, str]:
    """Write each output as ``.npy``; returns the file of each name."""
    written: dict[str, str] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index, (name, array) in enumerate(outputs.items()):
            path = folder / f"{_safe(name)}.npy"
            if str(path) in written.values():
                path = folder / f"{_safe(name)}-{index}.npy"
            _save_whole(path, array)
            written[name] = str(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(
            f"outputs cannot be written to {folder} ({reason}); choose another --output"
        ) from error
    return written


def _save_whole(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write the file whole, or leave what was there."""
    part = path.with_name(".output.part")
    try:
        with part.open("wb") as file:
            np.save(file, array)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _safe(name: str) -> str:
    """The part of a file's name that tells the output; no output leaves the folder."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).strip(".") or "output"


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Summarise latencies: the smallest, and the nearest-rank 50th, 90th and 99th percentile."""
    ordered = sorted(seconds)

    def rank(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return {"min": ordered[0], "p50": rank(0.5), "p90": rank(0.9), "p99": rank(0.99)}
