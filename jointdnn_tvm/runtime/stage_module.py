"""One side's compiled stages, ready to run in this process."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import runtime
from tvm.runtime.vm import VirtualMachine

from jointdnn_tvm.errors import BundleError, RunError
from jointdnn_tvm.runtime.architecture import check_architecture
from jointdnn_tvm.runtime.backends import device_of, load_backends
from jointdnn_tvm.runtime.bundle_names import library_name, weights_name
from jointdnn_tvm.runtime.manifest import Manifest, StageEntry
from jointdnn_tvm.runtime.weights import map_weights

Value = Any
"""An array here, or a tensor of TVM on the device."""


class StageModule:
    """A loaded library, its mapped weights and a virtual machine that serves one caller at a time.

    Check the files against the bundle's manifest first: loading a damaged library kills the
    process.
    """

    def __init__(
        self, library: Path, weights: Path, stages: Sequence[StageEntry], side: str
    ) -> None:
        self._stages = {s.name: s for s in stages}
        self._side = side
        self._lock = threading.Lock()
        arrays = map_weights(weights)
        needed = {w for s in stages for w in s.weights[side]}
        if missing := sorted(needed - arrays.keys()):
            raise BundleError(f"{weights} lacks weight {missing[0]!r}; build the bundle again")
        load_backends()
        try:
            check_architecture(library)
            module = _load(library)
            self._device = device_of(module)
            machine = VirtualMachine(module, self._device)
            self._functions = {s.name: machine[s.name] for s in stages}
        except BundleError:
            raise
        except Exception as error:  # whatever the loader says
            raise BundleError(
                f"{library} does not load on this machine ({_first_line(error)}); {_remedy(error)}"
            ) from error
        self._weights = {n: _share(arrays[n], self._device) for n in needed}

    def run(self, name: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run stage `name` on its input tensors and return the tensors that it hands out."""
        with self._lock:
            return {t: r.numpy() for t, r in self._run(name, tensors).items()}

    def run_on_device(self, name: str, tensors: Mapping[str, Value]) -> dict[str, Value]:
        """As `run`, but what the stage hands out stays on the device, to be read there again.

        `as_array` brings it here. It may share memory with what the stage read.
        """
        with self._lock:
            return self._run(name, tensors)

    def hold(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Value]:
        """Copies of arrays on the device, which stages read there without one of their own."""
        return {name: runtime.tensor(array, self._device) for name, array in arrays.items()}

    def _run(self, name: str, tensors: Mapping[str, Value]) -> dict[str, Value]:
        if name not in self._stages:
            raise RunError(f"there is no stage {name!r} here")
        stage = self._stages[name]
        if missing := [t for t in stage.inputs if t not in tensors]:
            raise RunError(f"stage {name!r} was called without tensor {missing[0]!r}")
        arguments = [_share(tensors[t], self._device) for t in stage.inputs]
        arguments += [self._weights[w] for w in stage.weights[self._side]]
        try:
            results = self._functions[name](*arguments)
        except Exception as error:  # of many kinds; the compiled stage checks its arguments
            raise RunError(f"stage {name!r} failed: {_first_line(error)}") from error
        return dict(zip(stage.outputs, results, strict=True))


def load_side(folder: Path, manifest: Manifest, side: str) -> StageModule | None:
    """Load a side's library and weights of the bundle in `folder`; None when it has none."""
    stages = manifest.stages_on(side)
    if not stages:
        return None
    return StageModule(folder / library_name(side), folder / weights_name(side), stages, side)


def check_runtime(tvm_version: str | None) -> None:
    """Raise BundleError unless a bundle was built with the TVM whose runtime is loaded here."""
    if tvm_version != tvm.__version__:
        raise BundleError(
            f"the bundle was built with TVM {tvm_version}, and this machine has {tvm.__version__}; "
            f"install apache-tvm=={tvm_version} here, or build the bundle again"
        )


def _load(library: Path) -> tvm_ffi.Module:
    """Load the library as it is now.

    The dynamic loader knows libraries by their path: without a path of its own, a bundle that
    replaced another one in place would run the other's code while that is still loaded.
    """
    with tempfile.TemporaryDirectory(prefix="jointdnn-") as folder:
        path = Path(folder) / library.name
        path.symlink_to(library.resolve())
        return tvm_ffi.load_module(path)


def as_array(value: Value) -> np.ndarray:
    """The array of a tensor that may have stayed on the device."""
    return value if isinstance(value, np.ndarray) else value.numpy()


def seen(value: Value) -> np.ndarray:
    """As `as_array`, to be read only: not copied where it lies in this machine's memory."""
    if isinstance(value, np.ndarray) or value.device != runtime.cpu():
        return as_array(value)
    return np.from_dlpack(value)


def _share(array: Value, device: runtime.Device) -> runtime.Tensor:
    """Hand an array to TVM, on the CPU without a copy where its memory allows that."""
    if not isinstance(array, np.ndarray):
        return array
    if device != runtime.cpu():
        return runtime.tensor(array, device)
    aligned = array.ctypes.data % 64 == 0
    if aligned and array.flags.c_contiguous and array.flags.writeable and array.dtype != np.bool_:
        return tvm_ffi.from_dlpack(array)
    return runtime.tensor(array)


def _remedy(error: Exception) -> str:
    """What to do about a library that does not load."""
    if "load_from_bytes.cuda" in str(error):
        return (
            "it needs NVIDIA's driver and, without a CUDA toolkit of version 13, "
            "`pip install 'jointdnn-tvm[cuda-runtime]'`"
        )
    return "build the bundle for this machine's target"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
