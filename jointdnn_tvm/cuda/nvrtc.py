"""NVIDIA's run-time compiler through its C interface: source text in, cubin out.

https://docs.nvidia.com/cuda/nvrtc describes the functions; each returns 0 when all is well.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jointdnn_tvm.errors import BuildError


@dataclass(frozen=True)
class Nvrtc:
    """The library, the folders of headers, and what makes one line of a compiler's log."""

    library: Path
    includes: tuple[Path, ...]
    complaint: Callable[[str], str]

    @property
    def name(self) -> str:
        """The library."""
        return str(self.library)

    def compile(self, source: str, arch: str) -> bytes:
        """The cubin for an architecture; BuildError with the compiler's first complaint."""
        nvrtc = _load(self.library)
        program = ctypes.c_void_p()
        if nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None
        ):
            raise BuildError(f"{self.name} takes no source; install it anew")
        try:
            options = [f"--gpu-architecture={arch}", "--std=c++17"]
            options += [f"--include-path={folder}" for folder in self.includes]
            array = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
            if nvrtc.nvrtcCompileProgram(program, len(options), array):
                log = _read(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
                reason = self.complaint(log.rstrip(b"\0").decode(errors="replace"))
                raise BuildError(f"{self.name} failed for {arch}: {reason}")
            return _read(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        finally:
            nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _load(library: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise BuildError(f"{library} cannot be loaded ({error}); install it anew") from error


def _read(size_of: Callable[..., int], read: Callable[..., int], program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    if size_of(program, ctypes.byref(size)):
        return b""
    buffer = ctypes.create_string_buffer(size.value)
    return b"" if read(program, buffer) else buffer.raw
