"""Give every kernel without a schedule blocks and threads of a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir.dlight import gpu

from jointdnn_tvm.passes.gpu_tile import Limits
from jointdnn_tvm.passes.schedule_blocks import blocks, inline, is_reduction, schedule_functions
from jointdnn_tvm.passes.schedule_for_gpu_products import schedule_product
from jointdnn_tvm.passes.schedule_for_gpu_sums import schedule_sum
from jointdnn_tvm.passes.schedule_for_gpu_windows import schedule_windows
from jointdnn_tvm.targets import TargetProfile

_SPATIAL, _REDUCE = 0, 2  # tirx.IterVar.iter_type: data parallel, commutative reduction
_THREADS = 256  # of a block, where each makes one element: enough to fill a multiprocessor


@tvm.transform.module_pass(opt_level=0, name="ScheduleForGpu")
@dataclass
class ScheduleForGpu:
    """Schedule all kernels: tiles of products, neighbours under windows, threads that share long
    sums, TVM's rule for several sums in a row, and one thread an element elsewhere."""

    profile: TargetProfile
    target: tvm.target.Target

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the module with every PrimFunc scheduled."""
        rules = (
            self._product,
            self._plain_product,
            self._windows,
            self._sum,
            self._rows,
            self._elements,
        )
        return schedule_functions(module, rules, all_bound)

    def _product(self, function: tirx.PrimFunc) -> tirx.PrimFunc | None:
        return schedule_product(function, Limits.of(self.profile))

    def _plain_product(self, function: tirx.PrimFunc) -> tirx.PrimFunc | None:
        """One that tensor cores cannot do, such as of other numbers than 32-bit floats."""
        return schedule_product(function, replace(Limits.of(self.profile), tensor_lanes=0.0))

    def _windows(self, function: tirx.PrimFunc) -> tirx.PrimFunc | None:
        return schedule_windows(function, self.profile)

    def _sum(self, function: tirx.PrimFunc) -> tirx.PrimFunc | None:
        return schedule_sum(function, self.profile)

    def _rows(self, function: tirx.PrimFunc) -> tirx.PrimFunc | None:
        sch = s_tir.Schedule(function)
        if sum(is_reduction(sch, block) for block in blocks(sch)) < 2:
            return None
        scheduled = gpu.GeneralReduction().apply(function, self.target, False)
        return None if scheduled is None else scheduled.mod["main"]

    def _elements(self, function: tirx.PrimFunc) -> tirx.PrimFunc | None:
        """One thread an element of each block, sums and all."""
        sch = s_tir.Schedule(function)
        inline(sch)
        for block in blocks(sch):
            _thread_an_element(sch, block)
        return sch.mod["main"]


def all_bound(function: tirx.PrimFunc) -> bool:
    """Whether every block of a scheduled function runs in threads of a GPU."""
    sch = s_tir.Schedule(function)
    return all(
        any(sch.get(loop).thread_binding is not None for loop in sch.get_loops(block))
        or _starts_threads(sch.get(block))
        for block in blocks(sch)
    )


def _starts_threads(block: s_tir.SBlock) -> bool:
    """Whether a block brings threads of its own, as TVM's sorting does."""
    return "launch_thread" in block.script()


def _thread_an_element(sch: s_tir.Schedule, block: Any) -> None:
    loops = sch.get_loops(block)
    kinds = [int(axis.iter_type) for axis in sch.get(block).iter_vars]
    if not loops and _starts_threads(sch.get(block)):
        return
    if len(kinds) != len(loops) or not set(kinds) <= {_SPATIAL, _REDUCE}:
        loops, kinds = [sch.add_unit_loop(block)], [_SPATIAL]  # in order, by one thread
    space = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _SPATIAL]
    sums = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _REDUCE]
    if not space:
        space = [sch.add_unit_loop(loops[0] if loops else block)]
    sch.reorder(*space, *sums)
    group, thread = sch.split(sch.fuse(*space), [None, _THREADS])
    sch.bind(group, "blockIdx.x")
    sch.bind(thread, "threadIdx.x")
    if sums:
        sch.decompose_reduction(block, sums[0])
