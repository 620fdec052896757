"""Sums over windows on a GPU: depthwise and grouped convolutions, pooling.

A thread makes several neighbours of a row and several channels of each. It reads the stretch of
the row under all their windows once, and the weights once, into registers; neighbouring threads
have neighbouring channels. Padding is worked out where the row is read, never stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import s_tir, sym, tirx
from tvm.s_tir.dlight.gpu.matmul import auto_inline_consumer_chain, auto_inline_producers

from jointdnn_tvm.passes.schedule_blocks import blocks, is_reduction
from jointdnn_tvm.targets import TargetProfile

_SPATIAL = 0  # tirx.IterVar.iter_type: data parallel
_DIMENSIONS = 4  # image, row, column, channel
_LANES = (4, 2, 1)  # channels of a thread: at best as many as it can read at once
_NEIGHBOURS = (8, 7, 6, 5, 4, 3, 2, 1)  # of a row
_MOST_HELD = 128  # numbers in registers of a thread
_WARP, _THREADS, _MOST_THREADS = 32, 128, 256  # a block has about so many, and at most
_FEW_THREADS = 16  # of a block that wastes the rest of its warp
_BUSY = 128  # threads a multiprocessor, about what keeps it busy when each has several sums
_FEW, _LONG = 32, 32  # threads a multiprocessor, terms: then threads rather share each sum


def schedule_windows(function: tirx.PrimFunc, profile: TargetProfile) -> tirx.PrimFunc | None:
    """Schedule the one sum over windows in a function with what is fused; None if not so."""
    sch = s_tir.Schedule(function)
    sums = [block for block in blocks(sch) if is_reduction(sch, block)]
    if len(sums) != 1:
        return None
    windows = _Windows.of(sch.get(sums[0]))
    if windows is None:
        return None
    lanes, neighbours = windows.lanes(), windows.neighbours(profile.cores)
    block_threads = _divisor(windows.results // (lanes * neighbours))
    rather_shared = windows.results // lanes < _FEW * profile.cores and windows.terms >= _LONG
    if rather_shared or block_threads < _FEW_THREADS:
        return None
    _schedule(sch, sums[0], windows, (neighbours, lanes, block_threads))
    return sch.mod["main"]


def _divisor(threads: int) -> int:
    """How many of the threads a block has, the same for all: TVM forgets to keep those that are
    too many from storing."""
    divisors = [n for n in range(1, min(threads, _MOST_THREADS) + 1) if threads % n == 0]
    return max(divisors, default=0, key=lambda n: (n / -(-n // _WARP), min(n, _THREADS)))


@dataclass(frozen=True)
class _Windows:
    """The axes of a sum over windows with their sizes, and what it reads along rows and channels.

    `column` and `channel` are indices, and `along` is the one axis of the sum in `column`.
    """

    space: dict[tirx.Var, int]
    sums: dict[tirx.Var, int]
    along: tirx.Var
    column: Any
    channel: Any
    weights: bool

    @staticmethod
    def of(block: s_tir.SBlock) -> _Windows | None:
        """The windows of a block; None if it is another kind of sum."""
        axes = [(axis, int(axis.dom.extent)) for axis in block.iter_vars]
        space = {axis.var: size for axis, size in axes if int(axis.iter_type) == _SPATIAL}
        sums = {axis.var: size for axis, size in axes if int(axis.iter_type) != _SPATIAL}
        read = [part.min for part in block.reads[0].region]
        if len(space) != _DIMENSIONS or len(read) != _DIMENSIONS or len(block.reads) > 2:
            return None
        column = _variables_in(read[2])
        along = [axis for axis in sums if axis in column]
        if len(along) != 1 or list(space)[2] not in column:
            return None
        return _Windows(space, sums, along[0], read[2], read[3], len(block.reads) == 2)

    @property
    def results(self) -> int:
        """How many sums there are."""
        return math.prod(self.space.values())

    @property
    def terms(self) -> int:
        """How long each is."""
        return math.prod(self.sums.values())

    def lanes(self) -> int:
        """Channels of a thread: what it reads for them is one number, or as many in a row."""
        axis, size = list(self.space.items())[3]
        first = tirx.Var("first", "int64")
        for lanes in (n for n in _LANES if size % n == 0):
            here, there = first * lanes, first * lanes + lanes - 1
            apart = self._apart(self.channel, {axis: here}, {axis: there})
            if isinstance(apart, tirx.IntImm) and int(apart) in (0, lanes - 1):
                return lanes
        return 1

    def neighbours(self, multiprocessors: int) -> int:
        """Results of a row that a thread makes: all in registers, and threads enough."""
        axis, size = list(self.space.items())[2]
        width = self.sums[self.along]
        for neighbours in (n for n in _NEIGHBOURS if size % n == 0):
            far = {axis: neighbours - 1, self.along: width - 1}
            stretch = int(self._apart(self.column, {}, far)) + 1
            held = self.lanes() * (neighbours + stretch + self.weights * width)
            threads = self.results // (neighbours * self.lanes())
            if held <= _MOST_HELD and threads >= _BUSY * multiprocessors:
                return neighbours
        return 1

    def _apart(self, index: Any, here: Mapping[Any, Any], there: Mapping[Any, Any]) -> Any:
        """How far an index moves from here to there, with all other axes at 0."""
        axes, zero = [*self.space, *self.sums], tirx.const(0, "int64")
        move = tirx.IndexMap(axes, [index], None).map_indices
        start, end = (move([zero + at.get(axis, 0) for axis in axes])[0] for at in (here, there))
        return sym.Analyzer().simplify(end - start)


def _schedule(
    sch: s_tir.Schedule, total: Any, windows: _Windows, sizes: tuple[int, int, int]
) -> None:
    """Divide a sum by neighbours and lanes of a thread and threads of a block."""
    neighbours, lanes, threads = sizes
    loops = {
        axis.var: loop
        for axis, loop in zip(sch.get(total).iter_vars, sch.get_loops(total), strict=True)
    }
    image, row, column, channel = (loops[axis] for axis in windows.space)
    along = loops[windows.along]
    others = [loops[axis] for axis in windows.sums if not axis.same_as(windows.along)]
    column, near = sch.split(column, [None, neighbours])
    channel, lane = sch.split(channel, [None, lanes])
    sch.reorder(image, row, column, channel, *others, along, near, lane)
    group, thread = sch.split(sch.fuse(image, row, column, channel), [None, threads])
    sch.bind(group, "blockIdx.x")
    sch.bind(thread, "threadIdx.x")
    stored = sch.cache_write(total, 0, "local")
    sch.reverse_compute_at(stored, thread, preserve_unit_loops=True)
    held = [sch.cache_read(total, i, "local") for i in range(1 + windows.weights)]
    for block in held:
        sch.compute_at(block, [thread, *others][-1], preserve_unit_loops=True)
        auto_inline_producers(sch, block)
    auto_inline_consumer_chain(sch, stored)
    outside = len([group, thread])
    for block, depth in ((stored, outside), *((b, outside + len(others)) for b in held)):
        _in_registers(sch, sch.get_loops(block)[depth:])
    _in_registers(sch, [along, near, lane])
    sch.decompose_reduction(total, [*others, along][0])


def _in_registers(sch: s_tir.Schedule, loops: Sequence[Any]) -> None:
    """Write loops out, so that what they index can be registers, the last one as a vector."""
    *rest, last = loops
    for loop in rest:
        sch.unroll(loop)
    sch.vectorize(last)


def _variables_in(expression: Any) -> set[tirx.Var]:
    """The variables of an expression."""
    found: set[tirx.Var] = set()
    tvm_ffi.structural_walk(expression, (tirx.Var, found.add))
    return found
