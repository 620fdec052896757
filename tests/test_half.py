"""Half precision: rounding, and numbers that are beyond it."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.codec import half
from jointdnn_tvm.codec.frame import Frame


def test_rounds_to_nearest() -> None:
    numbers = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    numbers[0, :3] = np.nan, np.inf, -np.inf
    encoded = half.encode(numbers)
    assert encoded is not None
    found = half.decode(Frame("f16", "float32", numbers.shape, *encoded))
    np.testing.assert_array_equal(found, numbers.astype(np.float16).astype(np.float32))
    assert found.dtype == np.float32


@pytest.mark.parametrize("number", [65520.0, -1e30])
def test_too_large(number: float) -> None:
    assert half.encode(np.array([1.0, number, np.inf], np.float32)) is None
    assert half.encode(np.array([1.0, 65504.0, np.inf], np.float32)) is not None
