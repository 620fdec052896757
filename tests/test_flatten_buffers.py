"""Flat accesses: kernels that are written out become the machine code that they were."""

from __future__ import annotations

import pytest
import tvm
from tvm import s_tir, tirx

from jointdnn_tvm.compiling import pass_context, separate_kernels, tvm_target
from jointdnn_tvm.group_library import groups_module
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes import loops_to_code
from jointdnn_tvm.passes.flatten_buffers import FlattenBuffers
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.passes.schedule_for_cpu import WRITTEN
from tests.kernel_library import machine
from tests.test_lower_blocks import with_blocks

AVX2 = machine(256, 16, tvm_target={"kind": "llvm", "mtriple": "x86_64", "mcpu": "znver3"})


def test_written_kernels_are_the_same_code(
    branching: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = groups_module(branching.grouped, [(g.key, g.name) for g in branching.graph.groups])
    target = tvm_target(AVX2)
    with target, pass_context(None):
        lowered, _ = lower(module, target, AVX2)
        _, kernels = separate_kernels(lowered, target)
    written = {name: kernel for name, kernel in kernels.items() if WRITTEN in kernel.attrs}
    assert len(written) > 3

    def code() -> dict[str, list[str]]:
        return {name: _instructions(name, kernel, target) for name, kernel in written.items()}

    ours = code()
    monkeypatch.setattr(loops_to_code, "FlattenBuffers", tirx.transform.FlattenBuffer)
    assert code() == ours
    assert all(len(instructions) > 100 for instructions in ours.values())


def _instructions(name: str, kernel: tirx.PrimFunc, target: tvm.target.Target) -> list[str]:
    """In assembly, without data and what debuggers read."""
    with pass_context(None):
        built = tvm.tirx.build(tvm.IRModule({name: kernel}), target, loops_to_code.LOOPS_TO_CODE)
    lines = built.inspect_source("s").splitlines()
    return [line for line in lines if line.startswith("\t") and not line.startswith("\t.")]


def test_what_is_not_written_out_is_left_to_tvm() -> None:
    passes = [s_tir.transform.ConvertBlocksToOpaque(), s_tir.transform.LowerOpaqueBlock()]
    loops = tvm.transform.Sequential(passes)(tvm.IRModule({"f": with_blocks()}))
    flat = tvm.transform.Sequential([FlattenBuffers()])(loops)
    tvm.ir.assert_structural_equal(flat, tirx.transform.FlattenBuffer()(loops))
    assert "* 6 + j" in flat.script()
