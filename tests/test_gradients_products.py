"""Gradients of matrix products, of vectors and of batches too."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tests.gradient_checks import check_gradients

op = relax.op


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (6, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((4,), (4, 5)),
        ((4,), (2, 4, 5)),
        ((3, 4), (4,)),
        ((2, 3, 4), (4,)),
        ((4,), (4,)),
    ],
    ids=str,
)
def test_derivatives(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    check_gradients(
        lambda _, x, w: op.matmul(x, w), rng.standard_normal(left), rng.standard_normal(right)
    )
