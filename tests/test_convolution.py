"""Shapes, costs and packings of convolutions and dense layers."""

from __future__ import annotations

import math

import pytest

from jointdnn_tvm.passes.kernels.convolution import Convolution, Dense
from jointdnn_tvm.passes.kernels.packing import Panels
from tests.kernel_library import PROFILES


@pytest.mark.parametrize(
    ("convolution", "output"),
    [
        (Convolution((1, 8, 9, 4), (3, 3, 4, 6)), (1, 6, 7, 6)),
        (Convolution((2, 8, 9, 4), (3, 3, 4, 6), padding=(1, 1, 1, 1)), (2, 8, 9, 6)),
        (Convolution((1, 8, 9, 4), (3, 3, 4, 6), (2, 3), (1, 0, 0, 2)), (1, 4, 3, 6)),
        (Convolution((1, 8, 9, 4), (3, 2, 2, 6), dilation=(2, 4), groups=2), (1, 4, 5, 6)),
        (Convolution((1, 3, 3, 4), (3, 3, 4, 1)), (1, 1, 1, 1)),
    ],
)
def test_output_shape(convolution: Convolution, output: tuple[int, ...]) -> None:
    assert convolution.output == output
    assert convolution.rows == math.prod(output[:3])
    assert convolution.columns * convolution.groups == output[3]


def test_more_work_takes_longer() -> None:
    host = PROFILES["host"]
    small = Convolution((1, 16, 16, 32), (3, 3, 32, 32))
    seconds = [
        small.seconds(host),
        Convolution((1, 16, 16, 64), (3, 3, 64, 32)).seconds(host),
        Convolution((1, 32, 32, 64), (3, 3, 64, 32)).seconds(host),
    ]
    assert sorted(seconds) == seconds
    assert seconds[0] > 0


def test_dense_is_packed_as_a_convolution_of_single_pixels() -> None:
    dense_layer = Dense((2, 5, 40), (40, 70))
    assert dense_layer.convolution.image == (1, 1, 10, 40)
    assert dense_layer.convolution.output == (1, 1, 10, 70)
    packing = dense_layer.packing(PROFILES["avx2"])
    assert isinstance(packing, Panels)
    assert packing == dense_layer.convolution.packing(PROFILES["avx2"])
