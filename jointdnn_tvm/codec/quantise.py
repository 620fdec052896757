"""Numbers on an even grid between the least and the largest, of a tensor or of each channel.

The reference for what compiled modules do at a boundary, and what the host does where no module
can: at a network's input and output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

_BLOCK = 1 << 15  # numbers that stay in a core's cache from one step to the next


@dataclass(frozen=True, eq=False)
class Grid:
    """`low + index * step`, float32, for each index of `axis`, or one for all where it is None."""

    axis: int | None
    low: np.ndarray
    step: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """Whether float32 holds every number of the grid, up to index 255, and can divide by it."""
        with np.errstate(all="ignore"):
            top = self.low + 255 * self.step
            divisible = (self.step == 0) | np.isfinite(1 / self.step)
        fits: np.ndarray = np.isfinite(self.low) & np.isfinite(top) & divisible
        return fits


def grid_of(array: np.ndarray, axis: int | None, levels: int) -> Grid | None:
    """The grid from the least to the largest number; None where float32 has no such grid.

    That is so with numbers that are not finite, and with ranges near the ends of float32's own.
    """
    low, high = _least_and_largest(_rows(array, axis))
    with np.errstate(all="ignore"):
        step = (high - low) / np.float32(levels - 1)
    step[low == high] = 0
    vanished = (low < high) & (step == 0)
    grid = Grid(axis, low, step)
    return grid if (grid.usable & ~vanished).all() else None


def grid_over(arrays: Sequence[np.ndarray], axis: int | None, levels: int) -> Grid | None:
    """One grid for several tensors of a shape; None where float32 has no such grid."""
    grid = grid_of(np.stack(arrays), None if axis is None else axis + 1, levels)
    return None if grid is None else replace(grid, axis=axis)


def clipped(array: np.ndarray, grid: Grid, levels: int) -> np.ndarray:
    """With the numbers that lie outside the grid brought to its ends."""
    shape = [1] * array.ndim
    if grid.axis is not None:
        shape[grid.axis] = -1
    low, high = grid.low, grid.low + (levels - 1) * grid.step
    result: np.ndarray = np.clip(array, low.reshape(shape), high.reshape(shape))
    return result


def quantise(array: np.ndarray, grid: Grid) -> np.ndarray:
    """The nearest index of each number, uint8, in the shape of `array`; it must lie on the grid."""
    indices = np.empty(array.shape, np.uint8)
    inverse = np.zeros_like(grid.step)
    np.divide(1, grid.step, out=inverse, where=grid.step > 0)
    room = np.empty(2 * _BLOCK, np.float32)
    for numbers, found, low, factor in _blocks(array, indices, grid.axis, grid.low, inverse):
        work = room[: numbers.size].reshape(numbers.shape) if numbers.size <= room.size else None
        work = np.subtract(numbers, low, out=work)
        np.multiply(work, factor, out=work)
        np.rint(work, out=work)
        np.copyto(found, work, casting="unsafe")
    return indices


def dequantise(indices: np.ndarray, grid: Grid) -> np.ndarray:
    """The numbers that the indices stand for, float32."""
    array = np.empty(indices.shape, np.float32)
    for numbers, found, low, step in _blocks(array, indices, grid.axis, grid.low, grid.step):
        np.multiply(found, step, out=numbers)
        np.add(numbers, low, out=numbers)
    return array


def _rows(array: np.ndarray, axis: int | None) -> np.ndarray:
    """As (outer, channels, inner)."""
    shape = array.shape
    if axis is None or shape[axis] == 1:
        return array.reshape(1, 1, -1)
    return array.reshape(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))


def _fold(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Channels that lie last, several times side by side: numpy is quick on long rows only."""
    outer, channels, _ = rows.shape
    times = max((t for t in range(1, max(2, 4096 // channels)) if outer % t == 0), default=1)
    return rows.reshape(outer // times, times * channels), times


def _least_and_largest(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if rows.shape[2] > 1:
        return rows.min(axis=(0, 2)), rows.max(axis=(0, 2))
    folded, times = _fold(rows)
    low, high = folded.min(axis=0), folded.max(axis=0)
    return low.reshape(times, -1).min(axis=0), high.reshape(times, -1).max(axis=0)


def _blocks(
    array: np.ndarray, indices: np.ndarray, axis: int | None, low: np.ndarray, step: np.ndarray
) -> Iterator[tuple[np.ndarray, ...]]:
    """Parts of both that a cache holds, with the parameters of their numbers."""
    numbers, found = _rows(array, axis), _rows(indices, axis)
    outer, channels, inner = numbers.shape
    if inner > 1:
        for i in range(outer):
            for c in range(channels):
                for j in range(0, inner, _BLOCK):
                    part = slice(j, j + _BLOCK)
                    yield numbers[i, c, part], found[i, c, part], low[c], step[c]
        return
    numbers, times = _fold(numbers)
    found = found.reshape(numbers.shape)
    lows, steps = np.tile(low, times), np.tile(step, times)
    height = max(1, _BLOCK // numbers.shape[1])
    for i in range(0, len(numbers), height):
        yield numbers[i : i + height], found[i : i + height], lows, steps
