"""Gradients of functions of one element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import relax

from jointdnn_tvm.passes.gradients.elementwise import ELEMENTWISE
from tests.gradient_checks import Array, check_gradients, gradients_of

op = relax.op


def _normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape) * 2


def _unit(*shape: int) -> Array:
    return np.random.default_rng(0).uniform(-0.9, 0.9, shape)


def _positive(*shape: int) -> Array:
    return np.random.default_rng(0).uniform(0.2, 3, shape)


CASES: dict[str, tuple[Callable[..., Any], Array]] = {
    **{
        name: (getattr(op, name), _normal(3, 5))
        for name in ("abs", "asinh", "atan", "cos", "cosh", "erf", "exp", "negative", "sigmoid")
    },
    **{name: (getattr(op, name), _normal(3, 5)) for name in ("sin", "sinh", "square", "tanh")},
    **{name: (getattr(op, name), _unit(3, 5)) for name in ("acos", "asin", "atanh", "tan")},
    **{name: (getattr(op, name), _positive(3, 5)) for name in ("log", "rsqrt", "sqrt")},
    "acosh": (op.acosh, _positive(3, 5) + 1),
    "clip": (lambda x: op.clip(x, -0.7, 1.2), _normal(4, 9)),
    **{
        f"nn.{name}": (getattr(op.nn, name), _normal(4, 9) * 3)
        for name in ("gelu", "gelu_tanh", "relu", "relu6", "selu", "silu")
    },
    "nn.leakyrelu": (lambda x: op.nn.leakyrelu(x, 0.3), _normal(4, 9)),
    "nn.softplus": (lambda x: op.nn.softplus(x, 1.5, 20.0), _normal(4, 9)),
    "astype": (lambda x: op.astype(op.astype(x, "float64"), "float64"), _normal(2, 3)),
}
_CONSTANT = ("ceil", "floor", "round", "sign", "trunc")


@pytest.mark.parametrize("name", CASES)
def test_derivative(name: str) -> None:
    compute, x = CASES[name]
    check_gradients(lambda _, x: compute(x), x)


@pytest.mark.parametrize("name", _CONSTANT)
def test_steps_have_no_slope(name: str) -> None:
    def compute(_: Any, x: Any) -> Any:
        return op.add(getattr(op, name)(x), x)  # the other way to the loss is there still

    check_gradients(compute, _normal(3, 5))


@pytest.mark.parametrize(("axis", "slopes"), [(1, 5), (-1, 4), (1, 1)])
def test_prelu(axis: int, slopes: int) -> None:
    check_gradients(lambda _, x, s: op.nn.prelu(x, s, axis), _normal(2, 5, 4), _normal(slopes))


def test_relu_has_no_slope_at_zero() -> None:
    function = gradients_of(lambda _, x: op.nn.relu(x), [np.zeros(3)], [0])
    np.testing.assert_array_equal(function(np.zeros(3))[1], np.zeros(3))


def test_all_are_tested() -> None:
    tested = {*CASES, *_CONSTANT, "nn.prelu"}
    assert tested == {name.removeprefix("relax.") for name in ELEMENTWISE}
