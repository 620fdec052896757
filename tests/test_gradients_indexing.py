"""Gradients of gathers: indices may be drawn more than once."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tests.gradient_checks import Array, check_gradients

op = relax.op


def _normal(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape)


def _indices(most: int, *shape: int, dtype: str = "int64") -> Array:
    return np.random.default_rng(1).integers(0, most, shape).astype(dtype)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(7,), (2, 5), (3, 1, 2), ()])
def test_take(axis: int, shape: tuple[int, ...]) -> None:
    x = _normal(3, 4, 5)
    indices = _indices(x.shape[axis], *shape, dtype="int32")
    check_gradients(lambda _, x, i: op.take(x, i, axis), x, indices)


def test_take_of_all_elements() -> None:
    check_gradients(lambda _, x, i: op.take(x, i), _normal(6), _indices(6, 4))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_elements(axis: int) -> None:
    x = _normal(3, 4, 5)
    indices = _indices(x.shape[axis], 3, 4, 5)
    check_gradients(lambda _, x, i: op.gather_elements(x, i, axis), x, indices)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gather_nd(depth: int) -> None:
    check_gradients(lambda _, x, i: op.gather_nd(x, i), _normal(3, 4, 5), _indices(3, 6, depth))
