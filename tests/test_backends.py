"""Where a library runs, and whether there is a driver for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tvm import runtime

from jointdnn_tvm.runtime import backends
from jointdnn_tvm.runtime.backends import device_of, has_cuda_driver, load_backends


@dataclass
class Module:
    kind: str
    imports: list[Module] = field(default_factory=list)


def test_library_with_kernels_for_a_gpu_runs_there() -> None:
    host = Module("library", [Module("relax.VMExecutable", [Module("const_loader")])])
    assert device_of(host) == runtime.cpu()
    gpu = Module("library", [Module("relax.VMExecutable", [Module("llvm", [Module("cuda")])])])
    assert device_of(gpu) == runtime.device("cuda", 0)


def test_driver_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_DRIVER", "libnowhere.so.1")
    assert not has_cuda_driver()


def test_driver_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_DRIVER", "libc.so.6")
    assert has_cuda_driver()


def test_cuda_runtime_of_the_pip_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "nvidia" / "cu13" / "lib" / "libcudart.so.13"
    library.parent.mkdir(parents=True)
    library.touch()
    (tmp_path / "nvidia" / "__init__.py").touch()
    tried: list[str] = []
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(backends, "CDLL", tried.append)
    load_backends()
    assert tried[-3] == str(library)
    assert tried[-1].endswith("libtvm_runtime_cuda.so")  # which is linked to it


def test_missing_backends_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_BACKENDS", ("libnowhere.so",))
    load_backends()
