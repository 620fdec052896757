"""Bytes by channel: where they lie, and rows as differences."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.codec.compression import compress
from jointdnn_tvm.codec.frame import Frame
from jointdnn_tvm.codec.planes import Planes, from_planes, to_planes
from jointdnn_tvm.errors import CodecError

SHAPES = [(1, 6, 7, 16), (2, 24, 5, 3), (1, 3, 8, 9), (64, 128), (1, 512), (5,), ()]


def indices(shape: tuple[int, ...]) -> np.ndarray:
    """Whole numbers, their size another for each channel."""
    rng = np.random.default_rng(len(shape))
    return rng.binomial(250, rng.random(shape[-1:]), shape).astype(np.uint8)


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_there_and_back(shape: tuple[int, ...], rising: bool) -> None:
    array = indices(shape)
    np.testing.assert_array_equal(from_planes(to_planes(array), shape), array)
    encoded = Planes(rising).encode(array)
    if encoded is not None:
        found = Planes(rising).decode(Frame("planes", "uint8", shape, *encoded))
        np.testing.assert_array_equal(found, array)
    assert (encoded is None) == (rising and shape in ((2, 24, 5, 3), (5,), ()))


@pytest.mark.parametrize(("shape", "axis"), [((1, 6, 7, 16), 3), ((1, 3, 8, 9), 1)])
def test_each_channel_is_a_row(shape: tuple[int, ...], axis: int) -> None:
    array = indices(shape)
    planes = to_planes(array)
    for channel in range(shape[axis]):
        np.testing.assert_array_equal(planes[channel], array.take(channel, axis).reshape(-1))


def test_channels_have_codes_of_their_own() -> None:
    """Few values a channel, all values over all of them: no code for all could tell them apart."""
    array = indices((1, 100, 100, 64))
    encoded = Planes().encode(array)
    assert encoded is not None
    assert len(encoded[1]) < 0.8 * len(compress(array))


@pytest.mark.parametrize("shape", [(256, 4), (0, 64), (1 << 40, 0), (1024,)])
def test_frames_of_shapes_that_none_has(shape: tuple[int, ...]) -> None:
    payload = compress(bytes(1024))
    with pytest.raises(CodecError, match=r"frame is damaged|does not hold"):
        Planes(rising=True).decode(Frame("rises", "uint8", (*shape, 1), b"", payload))
