"""Gradients of pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

from tests.gradient_checks import check_gradients, gradients_of

op = relax.op


@st.composite
def pools(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    """An image, and a pool of which every window holds a pixel."""
    sizes = [draw(st.integers(1, 4)) for _ in range(2)]
    padding = [draw(st.integers(0, (size - 1) // 2)) for size in (*sizes, *sizes)]
    extents = [draw(st.integers(size, size + 5)) for size in sizes]
    options = {
        "pool_size": sizes,
        "strides": [draw(st.integers(1, 3)) for _ in range(2)],
        "padding": padding,
        "ceil_mode": draw(st.booleans()),
        "count_include_pad": draw(st.booleans()),
        "layout": "NHWC",
    }
    return (draw(st.integers(1, 2)), *extents, draw(st.integers(1, 5))), options


@pytest.mark.parametrize("name", ["avg_pool2d", "max_pool2d"])
@settings(max_examples=8, deadline=None)
@given(pool=pools())
def test_derivative(name: str, pool: tuple[tuple[int, ...], dict[str, Any]]) -> None:
    shape, options = pool
    x = np.random.default_rng(0).standard_normal(shape)
    check_gradients(lambda _, x: getattr(op.nn, name)(x, **options), x)


def test_first_of_equal_pixels_gets_the_gradient() -> None:
    x = np.zeros((1, 2, 2, 1))
    pool = gradients_of(lambda _, x: op.nn.max_pool2d(x, (2, 2), layout="NHWC"), [x], [0])
    gradient = pool(x)[1]
    assert gradient.ravel()[0] != 0
    np.testing.assert_array_equal(gradient.ravel()[1:], np.zeros(3))
