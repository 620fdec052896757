"""One side's compiled stages, ready to run in this process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tvm_ffi
from tvm import runtime
from tvm.runtime.vm import VirtualMachine

from jointdnn_tvm.errors import BundleError, RunError
from jointdnn_tvm.runtime.manifest import StageEntry
from jointdnn_tvm.runtime.weights import map_weights


class StageModule:
    """A loaded library, its mapped weights and a virtual machine that serves one caller at a time.

    Check the files against the bundle's manifest first: loading a damaged library kills the
    process.
    """

    def __init__(self, library: Path, weights: Path, stages: Sequence[StageEntry]) -> None:
        self._stages = {s.name: s for s in stages}
        self._lock = threading.Lock()
        arrays = map_weights(weights)
        needed = {w for s in stages for w in s.weights}
        if missing := sorted(needed - arrays.keys()):
            raise BundleError(f"{weights} lacks weight {missing[0]!r}; build the bundle again")
        self._weights = {n: _share(arrays[n]) for n in needed}
        try:
            self._machine = VirtualMachine(tvm_ffi.load_module(library), runtime.cpu())
        except Exception as error:  # whatever the loader says of a library for another machine
            raise BundleError(
                f"{library} does not load on this machine ({_first_line(error)}); "
                "build the bundle for this machine's target"
            ) from error

    def run(self, name: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run stage `name` on its input tensors and return the tensors that it hands out."""
        stage = self._stages[name]
        if missing := [t for t in stage.inputs if t not in tensors]:
            raise RunError(f"stage {name!r} was called without tensor {missing[0]!r}")
        arguments = [_share(tensors[t]) for t in stage.inputs]
        arguments += [self._weights[w] for w in stage.weights]
        with self._lock:
            results = self._machine[name](*arguments)
            return {t: r.numpy() for t, r in zip(stage.outputs, results, strict=True)}


def _share(array: np.ndarray) -> runtime.Tensor:
    """Hand an array to TVM without a copy where its memory allows that."""
    aligned = array.ctypes.data % 64 == 0
    if aligned and array.flags.c_contiguous and array.flags.writeable and array.dtype != np.bool_:
        return tvm_ffi.from_dlpack(array)
    return runtime.tensor(array)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
