"""What becomes part of what in a function of blocks."""

from __future__ import annotations

from tvm import relax, s_tir

from jointdnn_tvm.passes.schedule_blocks import blocks, inline, is_reduction
from tests.gpu_on_cpu import fused_kernel
from tests.kernel_cases import Case, convolution

op = relax.op


def elementwise() -> Case:
    return Case("relu", ((4, 6),), (), lambda x: op.nn.relu(op.negative(x)), lambda x: -x)


def names(sch: s_tir.Schedule) -> list[str]:
    return [str(sch.get(block).name_hint) for block in blocks(sch)]


def test_elementwise_blocks_become_one() -> None:
    sch = s_tir.Schedule(fused_kernel(elementwise()))
    inline(sch)
    assert len(blocks(sch)) == 1
    assert not is_reduction(sch, blocks(sch)[0])


def test_padding_keeps_a_block_of_its_own() -> None:
    case = convolution((1, 5, 5, 4), (3, 3, 4, 4), "bias_relu", padding=(1, 1, 1, 1))
    sch = s_tir.Schedule(fused_kernel(case))
    inline(sch)
    assert [name for name in names(sch) if name.startswith("pad")]
    assert [is_reduction(sch, block) for block in blocks(sch)].count(True) == 1
