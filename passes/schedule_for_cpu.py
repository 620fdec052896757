"""Give every kernel without a schedule vector and parallel loops for a CPU."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import s_tir, tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.emitters import EMITTERS
from jointdnn_tvm.passes.kernels.row_reduction import find_row_reduction
from jointdnn_tvm.passes.kernels.site import find_site, root_parts, with_parts
from jointdnn_tvm.passes.schedule_blocks import blocks, inline, is_reduction, schedule_functions
from jointdnn_tvm.targets import TargetProfile

WRITTEN = "jointdnn.written"
"""Attribute of a function that one kernel of ours makes up, stores to its result and all."""
_SPATIAL, _REDUCE = 0, 2  # tirx.IterVar.iter_type: data parallel, commutative reduction


@tvm.transform.module_pass(opt_level=0, name="ScheduleForCpu")
@dataclass
class ScheduleForCpu:
    """Schedule all kernels: our own where a block is marked, register tiles for other reductions
    over channels, vector loops elsewhere."""

    profile: TargetProfile

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the module with every PrimFunc scheduled."""
        rules = (self._written, self._rows, self._tile, self._vectorize)
        return schedule_functions(module, rules, lambda _scheduled: True)

    def _written(self, function: tirx.PrimFunc) -> tirx.PrimFunc | None:
        """Write a kernel of ours out, with its epilogue where that is elementwise."""
        sch = s_tir.Schedule(function)
        inline(sch)
        site = find_site(sch)
        if site is None:
            return None
        statement = emit.sequence(EMITTERS[site.kernel](site, self.profile))
        if site.holds_all:
            return site.written(statement).with_attr(WRITTEN, True)
        for position, block in enumerate(blocks(sch)):
            if position not in site.positions:
                self._loop_nest(sch, block)
        return site.spliced(sch.mod["main"], statement)

    def _rows(self, function: tirx.PrimFunc) -> tirx.PrimFunc | None:
        """Reduce rows that lie in memory a few vectors at a time; loop nests for what is left."""
        sch = s_tir.Schedule(function)
        inline(sch)
        listed = blocks(sch)
        found = [find_row_reduction(sch.get(block), self.profile) for block in listed]
        if not any(found):
            return None
        for block, reduction in zip(listed, found, strict=True):
            if reduction is None:
                self._loop_nest(sch, block)
        scheduled = sch.mod["main"]
        parts = [
            part if reduction is None else reduction.statement(self.profile)
            for part, reduction in zip(root_parts(scheduled), found, strict=True)
        ]
        return with_parts(scheduled, parts)

    def _tile(self, function: tirx.PrimFunc) -> tirx.PrimFunc | None:
        """Tile one reduction (convolution, dense, pooling) with its elementwise epilogue."""
        sch = s_tir.Schedule(function)
        inline(sch)
        reductions = [b for b in blocks(sch) if is_reduction(sch, b)]
        if len(reductions) != 1:
            return None
        reduction = reductions[0]
        consumers = sch.get_consumers(reduction)
        if not consumers:
            sch.cache_write(reduction, 0, "global")
            consumers = sch.get_consumers(reduction)
        output = consumers[0]
        loops = sch.get_loops(output)
        shape = [int(sch.get(loop).extent) for loop in loops]
        if not shape or shape[-1] == 1 or len(consumers) != 1:
            return None
        if shape != _spatial(sch, reduction):
            return None
        self._pad(sch, skip=(reduction, output))
        self._register_tile(sch, reduction, output)
        return sch.mod["main"]

    def _register_tile(self, sch: s_tir.Schedule, reduction: Any, output: Any) -> None:
        *outer, channel = sch.get_loops(output)
        shape = [int(sch.get(loop).extent) for loop in [*outer, channel]]
        pixels = shape[-2] if outer else 1
        tile, vector, vectors = self._best_tile(pixels, shape[-1])
        pixel = outer.pop() if outer else sch.add_unit_loop(channel)
        pixel_out, pixel_in = sch.split(pixel, [None, tile])
        channel_out, channel_mid, channel_in = sch.split(channel, [None, vectors, vector])
        sch.reorder(*outer, channel_out, pixel_out, pixel_in, channel_mid, channel_in)
        sch.parallel(sch.fuse(*outer, channel_out))
        sch.compute_at(reduction, pixel_out, preserve_unit_loops=True)
        depth = len(sch.get_loops(output)) - 3
        spatial = len(shape)
        inner = sch.get_loops(reduction)[depth:]
        space, reduce = inner[:spatial], inner[spatial:]
        lane_out, lane = sch.split(space[-1], [None, vector])
        sch.reorder(*reduce, *space[:-1], lane_out, lane)
        for loop in (*space[:-1], lane_out):
            sch.unroll(loop)
        sch.vectorize(lane)
        start = sch.decompose_reduction(reduction, reduce[0])
        *before, last = sch.get_loops(start)[depth:]
        for loop in before:
            sch.unroll(loop)
        sch.vectorize(last)
        sch.unroll(pixel_in)
        sch.unroll(channel_mid)
        sch.vectorize(channel_in)

    def _best_tile(self, pixels: int, channels: int) -> tuple[int, int, int]:
        """Choose pixels a tile, lanes a vector and vectors a tile: the most work a cycle.

        The accumulators, one row of weights and one broadcast value must fit the registers; two
        fused multiply-adds and two loads start each cycle.
        """
        best = (math.inf, 1, 1, 1)
        vector = next(
            v for v in range(min(self.profile.lanes, channels), 0, -1) if channels % v == 0
        )
        for vectors in _divisors(channels // vector, 8):
            for tile in _divisors(pixels, 28):
                work = tile * vectors
                if work + vectors + 1 > self.profile.vector_registers:
                    continue
                cycles = (
                    max(
                        work / self.profile.fma_ports,
                        (tile + vectors) / 2,
                        self.profile.fma_latency,
                    )
                    + 0.5
                )
                best = min(best, (cycles / work, tile, vector, vectors))
        return best[1:]

    def _vectorize(self, function: tirx.PrimFunc) -> tirx.PrimFunc:
        """Fuse and split the outer loops over threads, vectorise the innermost one."""
        sch = s_tir.Schedule(function)
        inline(sch)
        for block in blocks(sch):
            self._loop_nest(sch, block)
        return sch.mod["main"]

    def _pad(self, sch: s_tir.Schedule, skip: tuple[Any, Any]) -> None:
        names = {sch.get(b).name_hint for b in skip}
        for block in blocks(sch):
            if sch.get(block).name_hint not in names:
                self._loop_nest(sch, block)

    def _loop_nest(self, sch: s_tir.Schedule, block: Any) -> None:
        loops = sch.get_loops(block)
        kinds = [int(v.iter_type) for v in sch.get(block).iter_vars]
        if len(kinds) != len(loops) or not set(kinds) <= {_SPATIAL, _REDUCE}:
            return
        space = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _SPATIAL]
        reduce = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _REDUCE]
        if not space:
            return
        *outer, last = space
        extent = int(sch.get(last).extent)
        vector = next(v for v in range(min(self.profile.lanes, extent), 0, -1) if extent % v == 0)
        if vector > 1:
            middle, lane = sch.split(last, [None, vector])
            sch.reorder(*outer, middle, *reduce, lane)
            outer.append(middle)
            sch.vectorize(lane)
        else:
            sch.reorder(*space, *reduce)
            outer = space
        if outer:
            sch.parallel(sch.fuse(*outer))
        if reduce:
            sch.decompose_reduction(block, reduce[0])


def _spatial(sch: s_tir.Schedule, block: Any) -> list[int]:
    axes = sch.get(block).iter_vars
    return [int(v.dom.extent) for v in axes if int(v.iter_type) == _SPATIAL]


def _divisors(number: int, most: int) -> Iterator[int]:
    return (d for d in range(1, min(number, most) + 1) if number % d == 0)
