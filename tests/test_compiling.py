"""Functions compiled kernel by kernel and linked, and what goes wrong on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax, tirx

from jointdnn_tvm.compiling import compile_library, first_line, separate_kernels, tvm_target
from jointdnn_tvm.errors import BuildError, LinkError
from jointdnn_tvm.kernel_store import KernelStore
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.targets import load_target
from jointdnn_tvm.user_cache import user_cache
from tests.tiny_models import relax_main

op = relax.op


def tiny() -> tvm.IRModule:
    """One public function, as a stage is."""
    module = relax_main({"x": (2, 8)}, {}, lambda b, x: [b.emit(op.nn.relu(x))])
    return tvm.IRModule({"stage": module["main"].with_attr("global_symbol", "stage")})


def lowered(shape: tuple[int, ...], name: str = "host", weight: str = "w") -> tvm.IRModule:
    def body(builder: relax.BlockBuilder, x: relax.Var, w: relax.Var) -> list[relax.Expr]:
        return [builder.emit(op.nn.relu(builder.emit(op.matmul(x, w))))]

    profile = load_target(name)
    module = relax_main({"x": shape}, {weight: (shape[-1], 16)}, body)
    return lower(module, tvm_target(profile), profile)[0]


def kernel_names(module: tvm.IRModule, name: str = "host") -> list[str]:
    return list(separate_kernels(module, tvm_target(load_target(name)))[1])


def test_equal_kernels_have_one_name() -> None:
    (name,) = kernel_names(lowered((4, 8)))
    assert kernel_names(lowered((4, 8), weight="other")) == [name]
    assert kernel_names(lowered((5, 8))) != [name]
    assert kernel_names(lowered((4, 8)), "raspberry-pi-5") != [name]
    calling, kernels = separate_kernels(lowered((4, 8)), tvm_target(load_target("host")))
    assert [str(k.attrs["global_symbol"]) for k in kernels.values()] == [name]
    assert not [
        v.name_hint
        for v, f in calling.functions.items()
        if isinstance(f, tirx.PrimFunc) and v.name_hint != "jointdnn_anchor"
    ]
    assert name in calling["main"].script()


def test_kernels_are_kept_and_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    host = load_target("host")
    compile_library(tiny(), host, tmp_path / "first.so")
    kept = sorted((user_cache() / "kernels").rglob("*.o"))
    assert len(kept) == 1

    def refuse(*args: object) -> Path:
        raise AssertionError("the kernel is built again")

    monkeypatch.setattr(KernelStore, "put", refuse)
    compile_library(tiny(), host, tmp_path / "second.so")
    assert sorted((user_cache() / "kernels").rglob("*.o")) == kept
    machine = relax.VirtualMachine(tvm_ffi.load_module(tmp_path / "second.so"), tvm.cpu())
    x = np.array([[-1, 2, -3, 4, -5, 6, -7, 8]] * 2, "float32")
    (result,) = machine["stage"](tvm.runtime.tensor(x))
    np.testing.assert_array_equal(result.numpy(), np.maximum(x, 0))


def test_linker_that_fails(tmp_path: Path) -> None:
    broken = replace(load_target("host"), linker=("false",))
    with pytest.raises(LinkError, match="linking for target host with false failed: exit 1"):
        compile_library(tiny(), broken, tmp_path / "stage.so")
    assert not (tmp_path / "stage.so").exists()


def test_target_that_tvm_does_not_know() -> None:
    host = load_target("host")
    for description in (
        {"kind": "lvm"},
        {"kind": "llvm", "mcpus": "x"},
        {"kind": "llvm", "num-cores": "two"},
    ):
        with pytest.raises(
            BuildError, match=r"TVM does not know target host: .*correct \[tvm_target"
        ):
            tvm_target(replace(host, tvm_target=description))


def test_target_of_a_gpu_has_a_host() -> None:
    target = tvm_target(load_target("cuda-sm90"))
    assert (target.kind.name, str(target.attrs["arch"])) == ("cuda", "sm_90")
    assert str(target.host.attrs["mcpu"]) not in ("native", "generic")


def test_native_is_this_machines_processor() -> None:
    assert str(tvm_target(load_target("host")).attrs["mcpu"]) != "native"


def test_lowering_that_fails_says_why(tmp_path: Path) -> None:
    stage = tiny()["stage"]
    module = tvm.IRModule({"stage": stage, "another": stage})  # of the same symbol
    with pytest.raises(BuildError, match=r"building for target host failed: .*stage"):
        compile_library(module, load_target("host"), tmp_path / "stage.so")


def test_first_line_of_an_error() -> None:
    assert first_line(ValueError("")) == "ValueError: no reason given"
    text = 'Traceback (most recent call last):\n  File "x.cc", line 3\n    ^^^^\nInternalError: bad'
    assert first_line(RuntimeError(text)) == "RuntimeError: InternalError: bad"
    assert len(first_line(RuntimeError("x" * 9999))) == 500
