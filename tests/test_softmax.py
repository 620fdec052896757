"""Softmax along any dimension, for several vector units, judged in float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.activation_cases import softmax
from tests.kernel_cases import Case, Draw
from tests.kernel_library import Libraries
from tests.kernel_tests import KernelTests


def softmax_case(seed: int) -> Case:
    """Of one to four dimensions more than the axis needs."""
    draw = Draw(seed)
    shape = [draw.size(7) for _ in range(draw.size(4, 2))]
    axis = draw.size(len(shape) - 1, 0)
    shape[axis] = draw.size(150)
    if draw.chance(0.5):
        shape[-1] = draw.size(60)
    return softmax(tuple(shape), axis, draw.epilogue())


LONG = softmax((2, 1001), 1)
EDGES = [
    softmax((1, 1), 1),
    softmax((5, 1), 0),
    softmax((50, 1, 1), 0),
    softmax((3, 1, 2), 1),
    LONG,
    softmax((1, 7), 1),  # one row, shorter than a vector
    softmax((5, 3), 1, "bias"),  # short rows side by side
    softmax((2, 3, 33), 1, "swish"),
    softmax((1, 40, 1, 1), 1),  # along the last dimension but for ones
    softmax((2, 300, 5), 1),  # powers too many for the stack
]


class TestSoftmax(KernelTests):
    kind = "softmax"
    edges = EDGES

    @classmethod
    def draw(cls, seed: int) -> Case:
        return softmax_case(seed)

    @pytest.mark.parametrize("shift", [-1e4, 0.0, 88.0, 1e4])
    def test_large_and_small_numbers_and_masks(self, shift: float, libraries: Libraries) -> None:
        library = libraries("host")
        index = EDGES.index(LONG)
        (x,) = library.arguments(index)
        x = x * 30 + np.float32(shift)
        x[:, ::3] = -np.inf
        found = library.call(index, x)
        expected = LONG.expect(x.astype(np.float64))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
