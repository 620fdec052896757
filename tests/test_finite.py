"""Arrays with and without numbers that are none."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.runtime.finite import is_finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 50, 99])
def test_one_that_is_none(value: float, place: int) -> None:
    array = np.random.default_rng(0).standard_normal((10, 10)).astype(np.float32)
    assert is_finite(array)
    array.ravel()[place] = value
    assert not is_finite(array)


def test_numbers_whose_squares_are_too_large() -> None:
    assert is_finite(np.full(10, 3e38, np.float32))


def test_whole_numbers() -> None:
    assert is_finite(np.array([1 << 62, -5]))
    assert is_finite(np.zeros((0, 3), np.float32))
