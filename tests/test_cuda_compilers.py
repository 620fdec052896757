"""CUDA compilers: which one is found, what they make, what they say when they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from jointdnn_tvm.cuda import compilers
from jointdnn_tvm.cuda.compilers import ELF, Nvcc, compile_cubin, complaint, find_cuda_compiler
from jointdnn_tvm.errors import BuildError, LinkError
from tests.cuda_machine import ARCHITECTURES, needs_cuda_compiler

KERNEL = 'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }\n'
EM_CUDA = 190  # e_machine of an ELF file for NVIDIA's GPUs


class Fake:
    name = "fake"

    def __init__(self, made: bytes) -> None:
        self.made = made

    def compile(self, source: str, arch: str) -> bytes:
        return self.made


def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "_nvidia_packages", lambda: iter(()))
    monkeypatch.delenv("CUDA_PATH", raising=False)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@needs_cuda_compiler
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_machine_code_of_each_generation(arch: str) -> None:
    cubin = compile_cubin(find_cuda_compiler(), KERNEL, arch)
    assert cubin.startswith(ELF)
    assert int.from_bytes(cubin[18:20], "little") == EM_CUDA
    assert b"twice" in cubin


@needs_cuda_compiler
def test_source_that_is_wrong_is_told_in_one_line() -> None:
    with pytest.raises(BuildError, match=r"failed for sm_90: .*nonsense") as caught:
        find_cuda_compiler().compile('extern "C" __global__ void f() { nonsense; }', "sm_90")
    assert "\n" not in str(caught.value)


@needs_cuda_compiler
def test_generation_that_the_compiler_does_not_know() -> None:
    with pytest.raises(BuildError, match="failed for sm_12345: "):
        find_cuda_compiler().compile(KERNEL, "sm_12345")


def test_no_compiler_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    no_packages(monkeypatch)
    monkeypatch.setenv("CUDA_HOME", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LinkError, match=r"has none; run `pip install 'jointdnn-tvm\[cuda\]'`"):
        find_cuda_compiler()


def test_toolkit_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_packages(monkeypatch)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    nvcc = program(tmp_path / "bin" / "nvcc", "exit 1")
    assert find_cuda_compiler() == Nvcc(str(nvcc))


def test_packages_go_before_a_toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "_nvidia_packages", lambda: iter([tmp_path]))
    library = tmp_path / "cuda_nvrtc" / "lib" / "libnvrtc.so.12"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"not a library")
    for package in ("cuda_runtime", "cuda_cccl"):
        (tmp_path / package / "include").mkdir(parents=True)
    found = find_cuda_compiler()
    assert found.name == str(library)
    with pytest.raises(BuildError, match=r"libnvrtc.so.12 cannot be loaded .*install it anew"):
        found.compile(KERNEL, "sm_90")


def test_packages_without_headers_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilers, "_nvidia_packages", lambda: iter([tmp_path]))
    library = tmp_path / "cuda_nvrtc" / "lib" / "libnvrtc.so.12"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    nvcc = program(tmp_path / "bin" / "nvcc", "exit 1")
    assert find_cuda_compiler() == Nvcc(str(nvcc))


def test_compiler_that_fails_without_a_word(tmp_path: Path) -> None:
    nvcc = Nvcc(str(program(tmp_path / "nvcc", "exit 3")))
    with pytest.raises(BuildError, match=r"nvcc failed for sm_80: it gives no reason"):
        nvcc.compile(KERNEL, "sm_80")
    silent = Nvcc(str(program(tmp_path / "silent", "exit 0")))
    with pytest.raises(BuildError, match="silent failed for sm_80"):
        silent.compile(KERNEL, "sm_80")


def test_only_machine_code_counts_as_compiled() -> None:
    assert compile_cubin(Fake(ELF + b"..."), KERNEL, "sm_80") == ELF + b"..."
    for made in (b"", b"//\n.version 8.0\n", KERNEL.encode()):
        with pytest.raises(BuildError, match="fake made no machine code for sm_80"):
            compile_cubin(Fake(made), KERNEL, "sm_80")


def test_complaint_is_the_first_error() -> None:
    assert (
        complaint("a.cu(1): warning: w\n\na.cu(2): error: bad\nerror: more")
        == "a.cu(2): error: bad"
    )
    assert complaint("  odd end \n") == "odd end"
    assert complaint(" \n") == "it gives no reason"
