"""Forms of 3x3 convolutions, their tiles and their packed weights."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.passes.kernels.convolution import Convolution
from jointdnn_tvm.passes.kernels.winograd import Winograd, WinogradPanels, fast_algorithms
from jointdnn_tvm.passes.kernels.winograd_transforms import TRANSFORMS
from tests.kernel_library import PROFILES


@pytest.mark.parametrize("outputs", TRANSFORMS)
@pytest.mark.parametrize("shape", [(3, 3, 5, 8), (3, 3, 1, 1), (3, 3, 4, 21)])
def test_packed_weights_are_transformed_columns(outputs: int, shape: tuple[int, ...]) -> None:
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    width = min(8, shape[-1])
    packing = WinogradPanels(outputs, width)
    packed = packing.apply(weight)
    assert packed.shape == packing.shape(shape)
    assert packed.dtype == np.float32
    matrix = np.array(TRANSFORMS[outputs].weights)
    planes = np.einsum("ai,bj,ijco->abco", matrix, matrix, weight.astype(np.float64))
    planes = planes.reshape(-1, *shape[2:])
    for column in range(shape[-1]):
        panel = column // width
        first = min(panel * width, shape[-1] - width)
        found, expected = packed[:, panel, :, column - first], planes[..., column]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "convolution",
    [
        Convolution((1, 9, 9, 4), (3, 3, 4, 8), strides=(2, 1)),
        Convolution((1, 9, 9, 4), (3, 3, 4, 8), dilation=(1, 2)),
        Convolution((1, 9, 9, 4), (3, 3, 2, 8), groups=2),
        Convolution((1, 9, 9, 4), (3, 1, 4, 8)),
        Convolution((1, 9, 9, 4), (5, 5, 4, 8)),
    ],
)
def test_other_convolutions_have_no_fast_form(convolution: Convolution) -> None:
    assert fast_algorithms(convolution) == []


def test_plain_3x3_convolution_has_every_form() -> None:
    plain = Convolution((1, 9, 9, 4), (3, 3, 4, 8), padding=(1, 1, 1, 1))
    assert [form.outputs for form in fast_algorithms(plain)] == list(TRANSFORMS)


def test_tiles_cover_the_output() -> None:
    form = Winograd(Convolution((2, 9, 8, 4), (3, 3, 4, 8), padding=(1, 1, 1, 1)), 4)
    assert form.edge == 6
    assert form.grid == (2, 3, 2)
    assert form.tiles == 12


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("outputs", TRANSFORMS)
def test_chunk_is_within_the_tiles(profile: str, outputs: int) -> None:
    for size in (1, 4, 13, 56, 112):
        form = Winograd(Convolution((1, size + 2, size + 2, 64), (3, 3, 64, 64)), outputs)
        assert 1 <= form.chunk(PROFILES[profile]) <= form.tiles
        assert form.tile(PROFILES[profile]).rows <= form.chunk(PROFILES[profile])
