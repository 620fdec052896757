"""Which sums the threads of a block share on a GPU."""

from __future__ import annotations

import pytest
from tvm import relax

from jointdnn_tvm.passes.schedule_for_gpu_sums import _power_of_two, schedule_sum
from jointdnn_tvm.targets import load_target
from tests.gpu_on_cpu import fused_kernel
from tests.kernel_cases import Case, dense

op = relax.op
SM87, SM90 = load_target("cuda-sm87"), load_target("cuda-sm90")


def mean(shape: tuple[int, ...], axes: list[int]) -> Case:
    return Case(f"mean_{shape}", (shape,), (), lambda x: op.sum(x, axes), lambda x: x.sum(axes))


@pytest.mark.parametrize("case", [dense((1, 64), 96, "bias_relu"), mean((1, 7, 7, 64), [1, 2])])
def test_neighbours_have_neighbouring_columns(case: Case) -> None:
    function = schedule_sum(fused_kernel(case), SM90)
    assert function is not None
    text = function.script()
    assert text.count('T.int64(32), thread="threadIdx.x"') >= 1
    assert 'T.int64(8), thread="threadIdx.y"' in text


def test_threads_share_a_sum_of_one_column() -> None:
    function = schedule_sum(fused_kernel(mean((3, 1000), [1])), SM90)
    assert function is not None
    assert 'T.int64(256), thread="threadIdx.x"' in function.script()


def test_short_sums_and_many_results_are_left_to_other_rules() -> None:
    assert schedule_sum(fused_kernel(mean((4, 31), [1])), SM90) is None
    many = fused_kernel(mean((1, 40, 32 * 1024), [1]))
    assert schedule_sum(many, SM87) is None
    assert schedule_sum(many, SM90) is not None


def test_power_of_two() -> None:
    assert [_power_of_two(n) for n in (1, 6, 64, 100, 35)] == [1, 2, 64, 4, 1]
