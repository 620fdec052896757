"""Two numbers in a byte."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.codec.frame import Frame
from jointdnn_tvm.codec.nibbles import decode, encode, pack, unpack


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000, 1001])
def test_there_and_back(count: int) -> None:
    numbers = np.random.default_rng(count).integers(0, 16, count, np.uint8)
    packed = pack(numbers)
    assert packed.shape == ((count + 1) // 2,)
    np.testing.assert_array_equal(unpack(packed, count), numbers)


def test_first_number_is_the_low_half() -> None:
    assert pack(np.array([[1, 2], [15, 0]], np.uint8)).tolist() == [0x21, 0x0F]


def test_codec_for_small_bytes() -> None:
    small = np.random.default_rng(0).integers(0, 16, (3, 50, 7), np.uint8)
    encoded = encode(small)
    assert encoded is not None
    assert len(encoded[1]) < 0.6 * small.nbytes
    frame = Frame("nibbles", "uint8", small.shape, *encoded)
    np.testing.assert_array_equal(decode(frame), small)
    assert encode(small + 1) is None
