"""Reductions that no kernel is written for, for several vector units, judged in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.kernel_cases import Array, Case, Draw, convolution, dense
from tests.kernel_library import (
    PROFILES,
    Libraries,
    built_when_wanted,
    check,
    check_written,
    numbered,
)

op = relax.op

PRODUCTS, POOLS = 23, 23  # random cases of each profile


def product_case(seed: int) -> Case:
    """The product of two activations, often of batches."""
    draw = Draw(seed)
    batch = tuple(draw.size(3) for _ in range(draw.size(2, 0)))
    m, k, n = draw.size(20), draw.size(30), draw.size(40)
    swish = draw.chance(0.3)

    def compute(a: Any, b: Any) -> Any:
        y = op.matmul(a, b)
        return op.sigmoid(y) * y if swish else y

    def expect(a: Array, b: Array) -> Array:
        y = a @ b
        return y / (1 + np.exp(-y)) if swish else y

    name = f"matmul_{batch}_{m}_{k}_{n}_{swish}"
    return Case(name, ((*batch, m, k), (*batch, k, n)), (), compute, expect)


def pool_case(seed: int) -> Case:
    """The largest or mean number of each window."""
    draw = Draw(seed)
    kh, kw = draw.pair(4)
    strides, padding = draw.pair(3), (draw.size(min(kh, kw) - 1, 0),) * 4
    image = (draw.size(3), kh + draw.size(9, 0), kw + draw.size(9, 0), draw.size(40))
    largest = draw.chance(0.5)
    options = {"pool_size": (kh, kw), "strides": strides, "padding": padding, "layout": "NHWC"}

    def compute(x: Any) -> Any:
        if largest:
            return op.nn.max_pool2d(x, **options)
        return op.nn.avg_pool2d(x, **options, count_include_pad=True)

    def expect(x: Array) -> Array:
        border = [(0, 0), padding[:2], padding[2:], (0, 0)]
        padded = np.pad(x, border, constant_values=-np.inf if largest else 0)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(1, 2))
        windows = windows[:, :: strides[0], :: strides[1]]
        return np.asarray(windows.max((-2, -1)) if largest else windows.mean((-2, -1)))

    return Case(
        f"{largest}_pool_{image}_{kh}_{kw}_{strides}_{padding}", (image,), (), compute, expect
    )


EMPTY = [
    dense((0, 8), 24, "bias"),
    dense((2, 0, 8), 4),
    dense((3, 0), 5, "bias_relu"),
    dense((3, 8), 0),
    convolution((0, 5, 5, 3), (3, 3, 3, 4), "gate"),
    convolution((1, 5, 5, 3), (3, 3, 3, 0)),
    convolution((0, 5, 5, 4), (3, 3, 1, 4), "swish", groups=4),
]


def cases_of(profile: str) -> list[Case]:
    first = 1000 * list(PROFILES).index(profile)
    products = [product_case(first + i) for i in range(PRODUCTS)]
    return EMPTY + products + [pool_case(first + i) for i in range(POOLS)]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    return built_when_wanted(cases_of, tmp_path_factory.mktemp)


@pytest.mark.parametrize("profile", PROFILES)
def test_kernels_stay_within_their_buffers(profile: str, libraries: Libraries) -> None:
    check_written(libraries(profile))


@pytest.mark.parametrize(("profile", "index"), numbered(cases_of))
def test_case_equals_numpy(profile: str, index: int, libraries: Libraries) -> None:
    check(libraries(profile), index)
