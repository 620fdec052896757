"""What a library carries beside its code, with machine code where TVM put CUDA source.

TVM writes the modules that a library imports into one blob: the length of the rest, the tree of
imports, then each module's kind and bytes. Those of kind ``cuda`` hold a format, a table of
kernels and the code. Without a GPU driver TVM writes format ``cuda``, which is source, and whoever
loads that needs a CUDA compiler. Format ``cubin`` goes to the driver as it is.

Texts are a length of 8 bytes, little-endian, and the bytes; `CUDAModuleNode::SaveToBytes` of TVM is
where the format comes from.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tvm

from jointdnn_tvm.errors import BuildError

_HEAD = struct.Struct("<Q")


def pack_imports(compile_source: Callable[[str], bytes]) -> Callable[..., str]:
    """Make the `fpack_imports` of `export_library` that compiles CUDA source with a function."""

    def pack(module: Any, is_system_library: bool, prefix: str, folder: str) -> str:
        host = next(m for m in _tree(module) if m.kind == "llvm")
        blob = tvm.get_global_func("runtime.ModulePackImportsToTensor")(module).numpy().tobytes()
        for device in (m for m in _tree(module) if m.kind == "cuda"):
            source = device.inspect_source("cuda")
            blob = replace_code(blob, source.encode(), compile_source(source))
        target = host.get_function("_get_target_string")()
        path = str(Path(folder) / f"{prefix}imports.o")
        make = tvm.get_global_func("codegen.codegen_blob")
        make(blob, is_system_library, target, prefix).write_to_file(path)
        return path

    return pack


def replace_code(blob: bytes, source: bytes, cubin: bytes) -> bytes:
    """Put a cubin in the place of the CUDA module with that source; BuildError if not found."""
    end = blob.find(_text(source)) + len(_text(source))
    start = blob.rfind(_text(b"cuda"), 0, end - len(_text(source)))  # the format, after the kind
    size_at = start - _HEAD.size
    kind_at = size_at - len(_text(b"cuda"))
    found = kind_at >= 0 and blob[kind_at:size_at] == _text(b"cuda")
    if not found or _HEAD.unpack_from(blob, size_at) != (end - start,):
        raise BuildError("TVM packed CUDA source in an unknown way; install the pinned apache-tvm")
    table = blob[start + len(_text(b"cuda")) : end - len(_text(source))]
    module = _text(_text(b"cubin") + table + _text(cubin))
    rest = blob[_HEAD.size : size_at] + module + blob[end:]
    return _HEAD.pack(len(rest)) + rest


def _text(content: bytes) -> bytes:
    return _HEAD.pack(len(content)) + content


def _tree(module: Any) -> list[Any]:
    return [module, *(found for imported in module.imports for found in _tree(imported))]
