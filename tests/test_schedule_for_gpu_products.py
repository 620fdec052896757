"""Which kernels become tiles of a product on a GPU, and how their threads fetch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tvm import tirx

from jointdnn_tvm.passes.gpu_tile import Limits
from jointdnn_tvm.passes.schedule_for_gpu_products import schedule_product
from jointdnn_tvm.targets import load_target
from tests.gpu_on_cpu import fused_kernel
from tests.kernel_cases import Case, convolution, dense
from tests.test_schedule_for_cpu_on_profiles import pool_case

SM90 = replace(Limits.of(load_target("cuda-sm90")), tensor_lanes=0.0)


def scheduled(case: Case) -> str:
    function = schedule_product(fused_kernel(case), SM90)
    assert isinstance(function, tirx.PrimFunc)
    return str(function.script())


@pytest.mark.parametrize(
    "case",
    [
        convolution((1, 9, 9, 8), (3, 3, 8, 20), "bias_relu", padding=(1, 1, 1, 1)),
        convolution((2, 8, 8, 16), (1, 1, 16, 16)),
        dense((4, 16), 16, "bias"),
        dense((3, 5, 40), 64),
    ],
)
def test_products_share_what_they_fetch(case: Case) -> None:
    text = scheduled(case)
    assert text.count('scope="shared"') == 2
    assert text.count('scope="local"') == 1
    assert 'thread="blockIdx.y"' in text


@pytest.mark.parametrize(
    "case",
    [
        dense((3, 64), 64),  # few rows
        dense((64, 8), 64),  # a short sum
        dense((64, 64), 8),  # few columns
        convolution((1, 9, 9, 32), (3, 3, 1, 32), groups=32),
        convolution((1, 9, 9, 32), (3, 3, 16, 32), groups=2),
        pool_case(0),
    ],
)
def test_others_are_left_to_other_rules(case: Case) -> None:
    assert schedule_product(fused_kernel(case), SM90) is None


def test_vectors_are_fetched_where_channels_allow() -> None:
    def vectors(channels: int, columns: int) -> int:
        return scheduled(convolution((1, 9, 9, channels), (3, 3, channels, columns))).count(
            "vectorized"
        )

    assert vectors(16, 64) == vectors(15, 63) + 2
    assert vectors(16, 63) == vectors(15, 64) == vectors(15, 63) + 1
