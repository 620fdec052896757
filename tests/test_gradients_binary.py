"""Gradients of functions of two elements, with and without broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from jointdnn_tvm.passes.gradients.binary import BINARY
from tests.gradient_checks import Array, check_gradients, gradients_of

op = relax.op

SHAPES = [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (3, 1)), ((1, 4), (2, 3, 4)), ((3, 1), (1, 5))]
OPERATORS = [name.removeprefix("relax.") for name in BINARY if name != "relax.where"]


def _positive(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).uniform(0.3, 2, shape)


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_derivatives(name: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    left, right = (_positive(shape, seed) for seed, shape in enumerate(shapes))
    check_gradients(lambda _, x, y: getattr(op, name)(x, y), left, right)


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_where(shapes: tuple[tuple[int, ...], ...]) -> None:
    left, right = (_positive(shape, seed) for seed, shape in enumerate(shapes))
    condition = np.random.default_rng(0).random((3, 1)) < 0.5
    check_gradients(lambda _, c, x, y: op.where(c, x, y), condition, left, right)


def test_operand_that_stands_twice() -> None:
    check_gradients(lambda _, x: op.multiply(x, x), _positive((3, 4), 0))


def test_power_of_a_negative_base() -> None:
    def compute(_: Any, x: Any) -> Any:
        return op.power(x, relax.const(np.full(5, 3.0), "float64"))

    check_gradients(compute, np.array([-2.0, -0.5, 0.1, 1.0, 2.0]))


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_equal_operands_share(name: str) -> None:
    x = np.array([1.0, 2.0])
    function = gradients_of(lambda _, x, y: getattr(op, name)(x, y), [x, x], [0, 1])
    _, left, right = function(x, x)
    np.testing.assert_array_equal(left, right)
    _, whole = gradients_of(lambda _, x: op.add(x, x), [x], [0])(x)
    np.testing.assert_allclose(left + right, whole / 2)
