"""TVM's runtimes for devices other than the CPU, and on which device a library runs."""

from __future__ import annotations

from contextlib import suppress
from ctypes import CDLL
from pathlib import Path
from typing import Any

import tvm
from tvm import runtime

_BACKENDS = ("libtvm_runtime_extra.so", "libtvm_runtime_cuda.so")
_DRIVER = "libcuda.so.1"


def load_backends() -> None:
    """TVM's runtime alone does not load its own extensions; a machine may lack their drivers."""
    folder = Path(tvm.__file__).parent / "lib"
    for name in _BACKENDS:
        with suppress(OSError):
            CDLL(str(folder / name))


def has_cuda_driver() -> bool:
    """Whether NVIDIA's driver is here. It is not started: a process that forks must not do so."""
    try:
        CDLL(_DRIVER)
    except OSError:
        return False
    return True


def device_of(library: Any) -> runtime.Device:
    """The GPU if a loaded library carries kernels for one, else the CPU."""
    return runtime.device("cuda" if _carries(library, "cuda") else "cpu", 0)


def _carries(module: Any, kind: str) -> bool:
    return module.kind == kind or any(_carries(imported, kind) for imported in module.imports)
