"""Softmax: a row of numbers, or a vector of rows side by side, from the first pass to the last.

Along the last dimension the vectors lie in the row, and what is left of it makes a shorter one.
Along another one, or where rows are shorter than a vector, each lane has a row of its own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import te, tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.site import KERNEL, Site
from jointdnn_tvm.targets import TargetProfile

_CHAINS = 4  # of comparisons, each of which waits for the one before it


@dataclass(frozen=True)
class Softmax:
    """exp(x - m) over its sum along an axis, with m the largest number of each row."""

    shape: tuple[int, ...]
    axis: int
    """Counted from the front."""

    name = "softmax"

    def compute(self, x: te.Tensor) -> te.Tensor:
        """What is meant, in three blocks."""
        attributes = {KERNEL: self.name, "axis": self.axis}
        rows = [extent for i, extent in enumerate(self.shape) if i != self.axis]
        k, s = (te.reduce_axis((0, self.shape[self.axis]), name) for name in "ks")

        def power(row: Sequence[Any], place: Any) -> Any:
            value = x[(*row[: self.axis], place, *row[self.axis :])]
            return tirx.exp(value - largest[tuple(row)])

        def result(*place: Any) -> Any:
            row = [*place[: self.axis], *place[self.axis + 1 :]]
            return power(row, place[self.axis]) / total[tuple(row)]

        largest = te.compute(
            rows,
            lambda *row: te.max(x[(*row[: self.axis], k, *row[self.axis :])], axis=k),
            "largest",
            attrs=attributes,
        )
        total = te.compute(
            rows, lambda *row: te.sum(power(row, s), axis=s), "total", attrs=attributes
        )
        return te.compute(self.shape, result, "softmax", attrs=attributes)


def emit_softmax(site: Site, profile: TargetProfile) -> list[Any]:
    """Statements for blocks that `Softmax.compute` made."""
    return _Writer(site, profile).statements()


class _Writer:
    """The statements of one softmax."""

    def __init__(self, site: Site, profile: TargetProfile) -> None:
        (x,) = site.operands
        self._x, self._see_x = emit.flat(x)
        self._site = site
        self._shape = site.shape
        self._axis = int(site.options["axis"])
        self._size = self._shape[self._axis]
        self._lanes = profile.lanes

    def statements(self) -> list[Any]:
        """Threads share out the rows, or the vectors of rows."""
        others = [i for i, _ in enumerate(self._shape) if i != self._axis]
        across = max(others, key=lambda i: (self._shape[i] > 1, i))
        last = across < self._axis or self._shape[across] == 1
        if last and self._size >= self._lanes:
            return [self._see_x, self._tasks({self._axis}, 1, lambda at, _part: self._row(at))]
        width = min(self._lanes, self._shape[across])

        def rows(at: list[Any], part: Any) -> list[Any]:
            first = tirx.min(part * width, emit.number(self._shape[across] - width))
            return self._side_by_side(self._changed(at, across, first), across, width)

        parts = -(-self._shape[across] // width)
        return [self._see_x, self._tasks({self._axis, across}, parts, rows)]

    def _tasks(
        self, within: set[int], parts: int, body: Callable[[list[Any], Any], list[Any]]
    ) -> Any:
        """Runs for each place in all dimensions but those within a task, in so many parts."""
        shape = [1 if i in within else extent for i, extent in enumerate(self._shape)]

        def task(index: Any) -> list[Any]:
            return body(emit.unravel(index // parts, shape), index % parts)

        return emit.parallel(math.prod(shape) * parts, task)

    def _changed(self, at: Sequence[Any], dimension: int, more: Any) -> list[Any]:
        return [*at[:dimension], at[dimension] + more, *at[dimension + 1 :]]

    def _read(self, at: Sequence[Any]) -> Any:
        place = emit.number(0)
        for index, extent in zip(at, self._shape, strict=True):
            place = place * extent + index
        return tirx.BufferLoad(self._x, [place])

    def _row(self, at: list[Any]) -> list[Any]:
        """One row, its vectors one after the other."""
        size, lanes = self._size, self._lanes
        powers, take_powers = emit.allocate("powers", size)
        totals, take_totals = emit.allocate("totals", lanes)
        (inverse, take_inverse), (top, take_top) = (emit.allocate(n, 1) for n in ("part", "top"))
        see_largest, largest = self._largest(at)

        def place(i: Any) -> list[Any]:
            return self._changed(at, self._axis, i)

        def exponents(first: Any, width: int) -> list[Any]:
            def power(lane: Any) -> Any:
                return tirx.exp(self._read(place(first + lane)) - tirx.BufferLoad(top, [0]))

            return [
                emit.vector(width, lambda i: _put(powers, first + i, power(i))),
                emit.vector(width, lambda i: _add(totals, i, tirx.BufferLoad(powers, [first + i]))),
            ]

        def result(i: Any) -> Any:
            value = tirx.BufferLoad(powers, [i]) * tirx.BufferLoad(inverse, [0])
            return self._site.store(place(i), value)

        total = functools.reduce(lambda a, b: a + b, _numbers(totals, lanes))
        return [
            *[take_powers, take_totals, take_inverse, take_top, *see_largest],
            _put(top, 0, largest),
            emit.vector(lanes, lambda i: _put(totals, i, emit.zero())),
            *emit.in_vectors(size, lanes, exponents),
            _put(inverse, 0, emit.zero(1) / total),
            *emit.vectors(size, lanes, result),
        ]

    def _largest(self, at: list[Any]) -> tuple[list[Any], Any]:
        """Statements that compare a row's vectors, and the largest number of what they leave.

        The last vectors overlap those before them, which does not change what is largest.
        """
        lanes, step = self._lanes, _CHAINS * self._lanes
        tops = [emit.allocate("tops", lanes) for _ in range(_CHAINS)]

        def compare(buffer: Any, first: Any) -> Any:
            return emit.vector(
                lanes,
                lambda i: _put(
                    buffer,
                    i,
                    tirx.max(
                        tirx.BufferLoad(buffer, [i]),
                        self._read(self._changed(at, self._axis, first + i)),
                    ),
                ),
            )

        def start(buffer: Any) -> Any:
            return emit.vector(
                lanes, lambda i: _put(buffer, i, self._read(self._changed(at, self._axis, i)))
            )

        def chains(block: Any) -> list[Any]:
            return [compare(b, block * step + i * lanes) for i, (b, _) in enumerate(tops)]

        full = self._size // step
        rest = [min(i, self._size - lanes) for i in range(full * step, self._size, lanes)]
        statements = [
            *[take for _, take in tops],
            *[start(buffer) for buffer, _ in tops],
            *([emit.serial(full, chains)] if full else []),
            *[compare(tops[i][0], emit.number(first)) for i, first in enumerate(rest)],
        ]
        left = [number for buffer, _ in tops for number in _numbers(buffer, lanes)]
        return statements, functools.reduce(tirx.max, left)

    def _side_by_side(self, at: list[Any], across: int, width: int) -> list[Any]:
        """As many rows as lanes, each along the axis."""
        powers, take_powers = emit.allocate("powers", self._size * width)
        (tops, take_tops), (totals, take_totals) = (
            emit.allocate(name, width) for name in ("tops", "totals")
        )

        def place(k: Any, lane: Any) -> list[Any]:
            return self._changed(self._changed(at, self._axis, k), across, lane)

        def each(statement: Callable[[Any], Any]) -> Any:
            return emit.vector(width, statement)

        def compare(k: Any) -> list[Any]:
            def larger(i: Any) -> Any:
                return tirx.max(tirx.BufferLoad(tops, [i]), self._read(place(k, i)))

            return [each(lambda i: _put(tops, i, larger(i)))]

        def exponent(k: Any) -> list[Any]:
            def power(i: Any) -> Any:
                return tirx.exp(self._read(place(k, i)) - tirx.BufferLoad(tops, [i]))

            return [
                each(lambda i: _put(powers, k * width + i, power(i))),
                each(lambda i: _add(totals, i, tirx.BufferLoad(powers, [k * width + i]))),
            ]

        def result(k: Any) -> list[Any]:
            def value(i: Any) -> Any:
                return tirx.BufferLoad(powers, [k * width + i]) * tirx.BufferLoad(totals, [i])

            return [each(lambda i: self._site.store(place(k, i), value(i)))]

        return [
            *[take_powers, take_tops, take_totals],
            each(lambda i: _put(tops, i, self._read(place(emit.number(0), i)))),
            each(lambda i: _put(totals, i, emit.zero())),
            *[emit.serial(self._size, compare), emit.serial(self._size, exponent)],
            each(lambda i: _put(totals, i, emit.zero(1) / tirx.BufferLoad(totals, [i]))),
            emit.serial(self._size, result),
        ]


def _put(buffer: Any, place: Any, value: Any) -> Any:
    return tirx.BufferStore(buffer, value, [place])


def _add(buffer: Any, place: Any, value: Any) -> Any:
    return _put(buffer, place, tirx.BufferLoad(buffer, [place]) + value)


def _numbers(buffer: Any, count: int) -> list[Any]:
    return [tirx.BufferLoad(buffer, [i]) for i in range(count)]
