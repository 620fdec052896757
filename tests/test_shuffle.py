"""Bytes by significance, and tensors that are not worth the time."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.codec import shuffle
from jointdnn_tvm.codec.frame import Frame


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "int64"])
def test_rows_are_bytes_of_one_significance(dtype: str) -> None:
    numbers = np.arange(200, 210).astype(dtype)
    planes = shuffle.shuffled(numbers)
    size = numbers.itemsize
    assert planes.shape == (size, 10)
    for index in range(size):
        assert planes[index].tobytes() == numbers.tobytes()[index::size]
    np.testing.assert_array_equal(shuffle.unshuffled(planes, numbers.dtype), numbers)


def test_grouping_pays() -> None:
    numbers = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    encoded = shuffle.encode(numbers)
    assert encoded is not None
    assert len(encoded[1]) < 0.9 * numbers.nbytes
    found = shuffle.decode(Frame("f32", "float32", numbers.shape, *encoded))
    assert found.tobytes() == numbers.tobytes()


def test_sample_tells_what_does_not_pay() -> None:
    noise = np.random.default_rng(0).integers(0, 256, 100_000, np.uint8)
    assert shuffle.encode(noise) is None
    assert shuffle.encode(noise // 64) is not None


def test_nothing_to_encode() -> None:
    assert shuffle.encode(np.zeros((0, 3), np.float32)) is None
