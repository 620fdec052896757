"""Sums, largest and smallest numbers of rows that lie in memory, a few vectors at a time.

Unlike the other kernels, this one is chosen for a block as it stands, whatever it reduces: means
and variances of normalisations, with what was inlined into them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import ir, tirx
from tvm.ir.expr import TensorLoad
from tvm.sym.analyzer import Analyzer

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.targets import TargetProfile

_CHAINS = 4  # of operations, each of which waits for the one before it
_SPATIAL, _REDUCE = 0, 2  # tirx.IterVar.iter_type
_STARTS = {tirx.Add: 0.0, tirx.Mul: 1.0}
"""Where each of several partial results has to start; largest and smallest: anywhere."""


@dataclass(frozen=True)
class RowReduction:
    """One block that reduces rows: `combine(result, value)` for every number of a row."""

    store: tirx.BufferStore
    value: Any
    combine: type
    start: float
    space: tuple[Any, ...]
    reduced: tuple[Any, ...]

    def statement(self, profile: TargetProfile) -> Any:
        """The loops; threads share out the rows."""
        extents = [int(axis.dom.extent) for axis in self.space]

        def row(index: Any) -> list[Any]:
            place = emit.unravel(index, extents)
            at = {axis.var: i for axis, i in zip(self.space, place, strict=True)}
            return self._row(at, profile.lanes)

        return emit.parallel(math.prod(extents), row, "row")

    def _row(self, at: dict[Any, Any], lanes: int) -> list[Any]:
        *outer, last = self.reduced
        extent = int(last.dom.extent)
        chains = min(_CHAINS, extent // lanes)
        parts = [emit.allocate("part", lanes) for _ in range(chains)]
        buffers = [buffer for buffer, _ in parts]

        def put(buffer: Any, lane: Any, value: Any) -> Any:
            return tirx.BufferStore(buffer, value, [lane])

        def clear(buffer: Any) -> Any:
            return emit.vector(lanes, lambda lane: put(buffer, lane, emit.zero(self.start)))

        def add(buffer: Any, place: dict[Any, Any], first: Any, width: int = lanes) -> Any:
            def store(lane: Any) -> Any:
                value = _with({**place, last.var: first + lane}, self.value)
                return put(buffer, lane, self.combine(tirx.BufferLoad(buffer, [lane]), value))

            return emit.vector(width, store)

        def along(place: dict[Any, Any]) -> list[Any]:
            step = chains * lanes
            full = extent // step

            def some(block: Any) -> list[Any]:
                return [add(b, place, block * step + i * lanes) for i, b in enumerate(buffers)]

            rest = [
                add(buffers[i], place, emit.number(first), min(lanes, extent - first))
                for i, first in enumerate(range(full * step, extent, lanes))
            ]
            return [emit.serial(full, some), *rest]

        def loops(axes: Sequence[Any], place: dict[Any, Any]) -> list[Any]:
            if not axes:
                return along(place)
            axis, *inner = axes
            size = int(axis.dom.extent)
            return [emit.serial(size, lambda k: loops(inner, {**place, axis.var: k}), "k")]

        def merge(lane: Any) -> Any:
            values = [tirx.BufferLoad(buffer, [lane]) for buffer in buffers]
            return put(buffers[0], lane, functools.reduce(self.combine, values))

        numbers = [tirx.BufferLoad(buffers[0], [lane]) for lane in range(lanes)]
        total = functools.reduce(self.combine, numbers)
        places = [_with(at, index) for index in self.store.indices]
        return [
            *[take for _, take in parts],
            *map(clear, buffers),
            *loops(outer, at),
            emit.vector(lanes, merge),
            tirx.BufferStore(self.store.buffer, total, places),
        ]


def find_row_reduction(block: Any, profile: TargetProfile) -> RowReduction | None:
    """The reduction that a block is, if its rows lie in memory and are no shorter than a vector."""
    axes = {kind: tuple(v for v in block.iter_vars if int(v.iter_type) == kind) for kind in (0, 2)}
    store, init = block.body, block.init
    reduced = axes[_REDUCE]
    if not reduced or len(block.iter_vars) != sum(map(len, axes.values())):
        return None
    if not all(isinstance(s, tirx.BufferStore) for s in (store, init)):
        return None
    if not isinstance(store.value, (tirx.Add, tirx.Mul, tirx.Max, tirx.Min)):
        return None
    if not isinstance(init.value, tirx.FloatImm) or str(store.buffer.dtype) != "float32":
        return None
    combine, start = type(store.value), float(init.value.value)
    result, value = store.value.a, store.value.b
    if not isinstance(result, TensorLoad) or not result.source.same_as(store.buffer):
        return None
    if _STARTS.get(combine, start) != start or int(reduced[-1].dom.extent) < profile.lanes:
        return None
    if _is_conditional(value) or not _lies_along(value, reduced[-1].var):
        return None
    return RowReduction(store, value, combine, start, axes[_SPATIAL], reduced)


def _lies_along(value: Any, variable: Any) -> bool:
    """Whether all that is read stays where it is, or moves by 1, when the variable does."""
    loads: list[Any] = []
    tvm_ffi.structural_walk(value, (TensorLoad, loads.append))
    analyzer = Analyzer()

    def step(load: Any) -> Any:
        place = emit.number(0)
        for index, extent in zip(load.indices, load.source.shape, strict=True):
            place = place * extent + index
        moved = _with({variable: variable + 1}, place)
        return analyzer.simplify(moved - place)

    steps = [step(load) for load in loads]
    known = all(isinstance(s, tirx.IntImm) and int(s) in (0, 1) for s in steps)
    return known and any(int(s) == 1 for s in steps)


def _is_conditional(value: Any) -> bool:
    calls: list[str] = []
    tvm_ffi.structural_walk(
        value, (ir.Call, lambda c: calls.append(str(getattr(c.op, "name", ""))))
    )
    return any(name.endswith("if_then_else") for name in calls)


def _with(places: dict[Any, Any], expression: Any) -> Any:
    """The expression with other values for some of its variables."""
    return tvm_ffi.structural_map(expression, (ir.Var, lambda var: places.get(var, var)))
