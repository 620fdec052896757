"""Gradients of sums and the like."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from jointdnn_tvm.passes.gradients.reductions import REDUCTIONS
from tests.gradient_checks import check_gradients, gradients_of

op = relax.op
OPERATORS = [name.removeprefix("relax.") for name in REDUCTIONS]


@pytest.mark.parametrize(
    ("axis", "keepdims"), [(None, False), (None, True), ([1], False), ([0, -1], True)]
)
@pytest.mark.parametrize("name", OPERATORS)
def test_derivative(name: str, axis: list[int] | None, keepdims: bool) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    check_gradients(lambda _, x: getattr(op, name)(x, axis, keepdims), x)


@pytest.mark.parametrize("name", ["max", "min"])
def test_equal_extremes_share(name: str) -> None:
    x = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    _, gradient = gradients_of(lambda _, x: getattr(op, name)(x, [1]), [x], [0])(x)
    np.testing.assert_array_equal(gradient[:, :1], gradient[:, 1:2])
    factors = np.random.default_rng(1).standard_normal(2)
    np.testing.assert_allclose(gradient.sum(1), factors)
