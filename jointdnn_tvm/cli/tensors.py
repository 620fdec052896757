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
        try:
            arrays[name] = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise RunError(f"{file} cannot be read as an array: {error}") from error
    return arrays


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
    written = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index, (name, array) in enumerate(outputs.items()):
            safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in name).strip(".")
            path = folder / f"{safe or index}.npy"
            np.save(path, array)
            written[name] = str(path)
    except OSError as error:
        raise RunError(f"outputs cannot be written to {folder}: {error.strerror}") from error
    return written


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Summarise latencies: the smallest, and the nearest-rank 50th, 90th and 99th percentile."""
    ordered = sorted(seconds)

    def rank(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return {"min": ordered[0], "p50": rank(0.5), "p90": rank(0.9), "p99": rank(0.99)}
