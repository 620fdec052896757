"""Libraries that carry machine code: what a server's loader is handed, and no source."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tvm
from tvm import relax

from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.cuda import compilers
from jointdnn_tvm.cuda.compilers import ELF
from jointdnn_tvm.cuda.packing import replace_code
from jointdnn_tvm.errors import BuildError, LinkError
from jointdnn_tvm.targets import load_target
from tests.cuda_machine import needs_cuda_compiler
from tests.gpu_on_cpu import GPUS
from tests.tiny_models import relax_main

op = relax.op

# What the CUDA runtime does with a library, but for the driver: it takes what follows the kind.
LOADER = """
import sys
import tvm
import tvm_ffi

def take(payload):
    print(bytes(payload).hex())
    return tvm.get_global_func("runtime.SourceModuleCreate")("", "c")

tvm_ffi.register_global_func("ffi.Module.load_from_bytes.cuda", take)
tvm_ffi.load_module(sys.argv[1])
"""


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def whole(rest: bytes) -> bytes:
    return text(rest)


def stage() -> tvm.IRModule:
    def body(builder: relax.BlockBuilder, x: relax.Var, w: relax.Var) -> list[relax.Expr]:
        y = builder.emit(op.nn.conv2d(x, w, data_layout="NHWC", kernel_layout="HWIO"))
        return [builder.emit(op.nn.softmax(y))]

    module = relax_main({"x": (1, 9, 9, 16)}, {"w": (3, 3, 16, 24)}, body)
    return tvm.IRModule({"stage": module["main"].with_attr("global_symbol", "stage")})


def compiled(name: str, folder: Path) -> Path:
    profile = replace(load_target(name), linker=("cc",))  # the host's, where the test loads it
    if name == "cuda-sm87":
        host = {"kind": "llvm"}
        profile = replace(profile, tvm_target={**profile.tvm_target, "host": host})
    path = folder / f"{name}.so"
    compile_library(stage(), profile, path)
    return path


@needs_cuda_compiler
@pytest.mark.parametrize("name", GPUS)
def test_loader_gets_machine_code(name: str, tmp_path: Path) -> None:
    path = compiled(name, tmp_path)
    library = path.read_bytes()
    assert ELF in library[1:]
    assert b"__global__" not in library
    run = [sys.executable, "-c", LOADER, str(path)]
    payload = bytes.fromhex(subprocess.run(run, capture_output=True, check=True, text=True).stdout)
    assert payload.startswith(text(b"cubin"))
    at = payload.index(ELF)
    (size,) = struct.unpack_from("<Q", payload, at - 8)
    assert at + size == len(payload)
    assert b"conv2d" in payload[: at - 8]  # the table of kernels
    assert b"conv2d" in payload[at:]


def test_without_a_compiler_nothing_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilers, "_nvrtc", lambda: None)
    monkeypatch.setattr(compilers, "_nvcc", lambda: None)
    with pytest.raises(LinkError, match="needs a CUDA compiler, and this machine has none"):
        compiled("cuda-sm90", tmp_path)
    assert not (tmp_path / "cuda-sm90.so").exists()


def test_code_is_replaced_and_lengths_follow() -> None:
    module = text(b"cuda") + b"table" + text(b"source")
    blob = whole(b"tree" + text(b"cuda") + text(module) + b"more")
    made = text(b"cubin") + b"table" + text(b"machine code")
    expected = whole(b"tree" + text(b"cuda") + text(made) + b"more")
    assert replace_code(blob, b"source", b"machine code") == expected


@pytest.mark.parametrize(
    "rest",
    [
        b"tree",
        b"tree" + text(b"cuda") + text(text(b"cuda") + b"table" + text(b"other")),
        b"tree" + text(b"vulkan") + text(text(b"cuda") + b"table" + text(b"source")),
        b"tree" + text(b"cuda") + text(text(b"cuda") + b"table" + text(b"source") + b"tail"),
    ],
)
def test_blob_of_another_form_is_refused(rest: bytes) -> None:
    with pytest.raises(BuildError, match="packed CUDA source in an unknown way"):
        replace_code(whole(rest), b"source", b"machine code")
