"""Quantising in blocks against the formula on whole arrays in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.codec.quantise import Grid, clipped, dequantise, grid_of, grid_over, quantise
from tests.hard_arrays import Array, hard_array


def by_hand(array: Array, axis: int | None, levels: int) -> tuple[Array, Array]:
    """Indices and the numbers that they stand for."""
    exact = array.astype(np.float64)
    others = tuple(i for i in range(array.ndim) if i != axis) if axis is not None else None
    low, high = exact.min(others, keepdims=True), exact.max(others, keepdims=True)
    step = (high - low) / (levels - 1)
    indices = np.rint((exact - low) / step)
    return indices, low + indices * step


@pytest.mark.parametrize("levels", [256, 64, 16])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1, 3, 70, 50), 1),
        ((1, 13, 17, 48), 3),
        ((64, 7), 1),
        ((2, 40, 5, 600), 2),
        ((50, 2, 5000), None),
        ((100_003,), None),
        ((3, 40_000), 1),
        ((100_003, 1), 1),
    ],
)
def test_nearest_index(shape: tuple[int, ...], axis: int | None, levels: int) -> None:
    array = hard_array("normal", shape)
    grid = grid_of(array, axis, levels)
    assert grid is not None
    found = quantise(array, grid)
    expected, numbers = by_hand(array, axis, levels)
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 1  # a tie may fall to the other side
    assert np.count_nonzero(found != expected) <= 1e-3 * array.size + 1
    assert int(found.max()) == levels - 1
    step = np.repeat(grid.step.max(), 1)
    assert np.abs(dequantise(found, grid) - numbers).max() <= 1.001 * step


def test_constant_channels_are_exact() -> None:
    array = hard_array("normal", (4, 5, 20))
    array[..., 7] = 0.1
    grid = grid_of(array, 2, 256)
    assert grid is not None
    found = dequantise(quantise(array, grid), grid)
    assert (found[..., 7] == np.float32(0.1)).all()


@pytest.mark.parametrize("kind", ["nan", "all nan", "infinite", "huge", "denormal"])
def test_ranges_that_float32_cannot_divide(kind: str) -> None:
    assert grid_of(hard_array(kind, (100, 100)), None, 256) is None


def test_grid_that_was_given() -> None:
    grid = Grid(None, np.array([-1], np.float32), np.array([0.5], np.float32))
    indices = quantise(np.array([-1, -0.7, 0, 1.1], np.float32), grid)
    assert indices.tolist() == [0, 1, 2, 4]
    assert dequantise(indices, grid).tolist() == [-1, -0.5, 0, 1]


def test_one_grid_for_several_tensors() -> None:
    arrays = [hard_array("normal", (1, 9, 9, 16), seed) for seed in range(3)]
    grid = grid_over(arrays, 3, 256)
    assert grid is not None
    assert grid.axis == 3
    np.testing.assert_array_equal(grid.low, np.stack(arrays).min((0, 1, 2, 3)))
    together = grid_over(arrays, None, 256)
    assert together is not None
    assert (together.axis, together.low.shape) == (None, (1,))
    assert together.low[0] == min(a.min() for a in arrays)


@pytest.mark.parametrize("axis", [None, 0, 2])
def test_numbers_outside_come_to_the_ends(axis: int | None) -> None:
    array = hard_array("normal", (4, 5, 6))
    grid = grid_of(array, axis, 16)
    assert grid is not None
    np.testing.assert_allclose(clipped(array, grid, 16), array, atol=1e-6)
    found = dequantise(quantise(clipped(9 * array, grid, 16), grid), grid)
    others = tuple(i for i in range(3) if i != axis) if axis is not None else None
    np.testing.assert_allclose(found.max(others), array.max(others), rtol=1e-5)
