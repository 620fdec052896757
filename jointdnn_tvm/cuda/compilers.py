"""CUDA source to a cubin: machine code for one generation of GPUs.

NVRTC is the compiler as a library, in NVIDIA's pip packages; nvcc is that of a CUDA toolkit.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jointdnn_tvm.cuda.nvrtc import Nvrtc
from jointdnn_tvm.errors import BuildError, LinkError

ELF = b"\x7fELF"  # what a cubin begins with
_NVRTC = "libnvrtc.so.12"
_INCLUDES = ("cuda_runtime", "cuda_cccl")  # pip packages with headers that TVM's source includes


class CudaCompiler(Protocol):
    """Something that makes machine code of CUDA source."""

    @property
    def name(self) -> str:
        """What it is called in errors."""

    def compile(self, source: str, arch: str) -> bytes:
        """The cubin for an architecture such as ``sm_90``; BuildError says what is wrong."""


def find_cuda_compiler() -> CudaCompiler:
    """NVRTC of the pip packages, else the first nvcc; LinkError when there is neither."""
    return _nvrtc() or _nvcc() or _refuse()


def compile_cubin(compiler: CudaCompiler, source: str, arch: str) -> bytes:
    """Compile, and make sure that what came back is machine code."""
    cubin = compiler.compile(source, arch)
    if not cubin.startswith(ELF):
        raise BuildError(f"{compiler.name} made no machine code for {arch}; try another compiler")
    return cubin


@dataclass(frozen=True)
class Nvcc:
    """The compiler of a CUDA toolkit."""

    path: str

    @property
    def name(self) -> str:
        """The program."""
        return self.path

    def compile(self, source: str, arch: str) -> bytes:
        """The cubin for an architecture; BuildError with the compiler's first complaint."""
        with tempfile.TemporaryDirectory(prefix="jointdnn-cuda-") as folder:
            code, cubin = Path(folder) / "kernels.cu", Path(folder) / "kernels.cubin"
            code.write_text(source, encoding="utf-8")
            command = [
                self.path,
                "--cubin",
                f"-arch={arch}",
                "-std=c++17",
                "-o",
                str(cubin),
                str(code),
            ]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode or not cubin.exists():
                raise BuildError(f"{self.name} failed for {arch}: {complaint(result.stderr)}")
            return cubin.read_bytes()


def complaint(log: str) -> str:
    """The first error in a compiler's log, on one line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "unsupported" in line.lower()]
    return (errors or lines or ["it gives no reason"])[0][:300]


def _nvrtc() -> CudaCompiler | None:
    for package in _nvidia_packages():
        library = package / "cuda_nvrtc" / "lib" / _NVRTC
        includes = [package / name / "include" for name in _INCLUDES]
        if library.exists() and all(folder.is_dir() for folder in includes):
            return Nvrtc(library, tuple(includes), complaint)
    return None


def _nvidia_packages() -> Iterator[Path]:
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(folder)


def _nvcc() -> CudaCompiler | None:
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    for candidate in (*(f"{home}/bin/nvcc" for home in homes if home), "nvcc"):
        found = shutil.which(candidate)
        if found is not None:
            return Nvcc(found)
    return None


def _refuse() -> CudaCompiler:
    raise LinkError(
        "building for CUDA needs a CUDA compiler, and this machine has none; "
        "run `pip install 'jointdnn-tvm[cuda]'`, or set CUDA_HOME to a CUDA toolkit"
    )
