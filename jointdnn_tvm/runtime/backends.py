"""TVM's runtimes for devices other than the CPU, and on which device a library runs."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path
from typing import Any

import tvm
from tvm import runtime

_BACKENDS = ("libtvm_runtime_extra.so", "libtvm_runtime_cuda.so")
_DRIVER = "libcuda.so.1"
_CUDA_RUNTIME = "libcudart.so.13"  # TVM's extension for CUDA is linked to it


def load_backends() -> None:
    """TVM's runtime alone does not load its own extensions; a machine may lack their drivers."""
    folder = Path(tvm.__file__).parent / "lib"
    for library in (*_cuda_runtimes(), *(str(folder / name) for name in _BACKENDS)):
        with suppress(OSError):
            CDLL(library)


def _cuda_runtimes() -> list[str]:
    """CUDA's runtime library in NVIDIA's pip package, where the loader would not look for it."""
    package = importlib.util.find_spec("nvidia")
    folders = package.submodule_search_locations if package else None
    return [str(path) for f in folders or () for path in Path(f).glob(f"*/lib/{_CUDA_RUNTIME}")]


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
