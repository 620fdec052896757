"""The lower envelope of linear functions over a box, and its vertices as functions are added.

What lies under all functions, over the box, is a polyhedron, and the double description method
(Motzkin et al., 1953) cuts it with a half-space for each function. Each vertex is kept with the
faces that it lies on. A cut takes away the vertices above it, and makes one on each edge from such
a vertex to one that stays; two vertices share an edge when they share as many faces as that takes,
and no third one lies on all of these. Below each corner of the box an edge goes down for ever: its
other end is one more vertex, which stands for the direction.

A function is at least 0 in all of the box and has no negative slope. So its value is a sum without
cancellation, a new vertex is a mean of two others, and errors stay relative to the value.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
_NEAR = 1e-12  # of its height: a vertex lies on a function


class Envelope:
    """The minimum of the functions added so far, each a constant and its slopes."""

    def __init__(self, low: Array, high: Array, function: Array) -> None:
        """Start with a function over a box from ``low`` to ``high``, which is nowhere flat."""
        size = len(low)
        is_high = np.array([*product((False, True), repeat=size)], bool).reshape(2**size, size)
        corners = _with_ones(np.where(is_high, high, low))
        ends = np.zeros((len(corners) + 1, size + 2))  # each is 1 or 0, a place, a height
        ends[:-1, :-1] = corners
        ends[:-1, -1] = corners @ function
        ends[-1, -1] = -1
        on_function = np.ones((len(corners), 1), bool)
        on = np.vstack((np.hstack((~is_high, is_high, on_function)), np.ones(2 * size + 1, bool)))
        on[-1, -1] = False
        self._ends, self._on = ends, on
        self._visited = np.arange(len(ends)) == len(corners)

    def next_vertex(self) -> tuple[Array, float] | None:
        """The place and the height of a vertex not given yet; None when all were."""
        (waiting,) = np.nonzero(~self._visited)
        if not waiting.size:
            return None
        self._visited[waiting[0]] = True
        _, *place, height = self._ends[waiting[0]]
        return np.array(place), float(height)

    def add(self, function: Array) -> None:
        """Lower the envelope to a function, where that is less."""
        ends, on = self._ends, self._on
        above = ends[:, -1] - ends[:, :-1] @ function
        near = np.abs(above) <= _NEAR * np.abs(ends[:, -1])
        goes, stays = (above > 0) & ~near, (above <= 0) | near
        one, other = self._edges(np.flatnonzero(goes), np.flatnonzero(stays & ~near))
        new = above[one, None] * ends[other] - above[other, None] * ends[one]
        new /= new[:, :1]
        new[:, -1] = new[:, :-1] @ function
        self._ends = np.vstack((ends[stays], new))
        self._on = np.vstack((on[stays], on[one] & on[other]))
        on_function = np.concatenate((near[stays], np.ones(len(new), bool)))
        self._on = np.hstack((self._on, on_function[:, None]))
        self._visited = np.concatenate((self._visited[stays], np.zeros(len(new), bool)))

    def _edges(self, ones: Indices, others: Indices) -> tuple[Indices, Indices]:
        """The edges from some vertices to others, by their two ends."""
        on = self._on.astype(np.float32)  # sums of products are fast only of floats
        size = self._ends.shape[1] - 2
        pairs = np.argwhere(on[ones] @ on[others].T >= size)
        one, other = ones[pairs[:, 0]], others[pairs[:, 1]]
        common = on[one] * on[other]
        lie_on_all = common @ on.T >= common.sum(axis=1, keepdims=True)
        alone = lie_on_all.sum(axis=1) == 2
        return one[alone], other[alone]


def _with_ones(points: Array) -> Array:
    return np.hstack((np.ones((len(points), 1)), points))
