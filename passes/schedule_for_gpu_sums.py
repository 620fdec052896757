"""Long sums with few results on a GPU: threads of a block share the terms of each.

Dense layers of one row and global pooling have too few results to fill a GPU with one thread
each. The innermost axis of the result lies across threads, so that neighbours read neighbouring
numbers; where there is none, that of the sum does.
"""

from __future__ import annotations

import math
from typing import Any

from tvm import s_tir, tirx

from jointdnn_tvm.passes.schedule_blocks import blocks, inline, is_reduction
from jointdnn_tvm.targets import TargetProfile

_SPATIAL = 0  # tirx.IterVar.iter_type: data parallel
_WARP = 32
_THREADS = 256
_FEW = 1024  # results a multiprocessor; with more of them one thread each is as good
_LONG = 32  # terms; below it there is nothing to share


def schedule_sum(function: tirx.PrimFunc, profile: TargetProfile) -> tirx.PrimFunc | None:
    """Schedule the one sum in a function with what is fused around it; None if not so."""
    sch = s_tir.Schedule(function)
    inline(sch)
    sums = [block for block in blocks(sch) if is_reduction(sch, block)]
    if len(sums) != 1 or len(blocks(sch)) > 2:
        return None
    total = sums[0]
    loops = sch.get_loops(total)
    kinds = [int(axis.iter_type) for axis in sch.get(total).iter_vars]
    space = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _SPATIAL]
    terms = [loop for loop, kind in zip(loops, kinds, strict=True) if kind != _SPATIAL]
    results = math.prod(int(sch.get(loop).extent) for loop in space)
    length = math.prod(int(sch.get(loop).extent) for loop in terms)
    if results > _FEW * profile.cores or length < _LONG or not space:
        return None
    consumers = list(sch.get_consumers(total))
    if len(consumers) != len(blocks(sch)) - 1:
        return None
    sch.reorder(*space, *terms)
    across = min(_WARP, _power_of_two(int(sch.get(space[-1]).extent)))
    _share(sch, total, sch.fuse(*space), sch.fuse(*terms), across)
    for consumer in consumers:
        _follow(sch, total, consumer, across)
    return sch.mod["main"]


def _share(sch: s_tir.Schedule, total: Any, result: Any, term: Any, across: int) -> None:
    group, column = sch.split(result, [None, across])
    _, shared = sch.split(term, [None, _THREADS // across])
    sch.reorder(group, column, shared)
    sch.bind(group, "blockIdx.x")
    sch.bind(column, "threadIdx.y" if across == 1 else "threadIdx.x")
    sch.bind(shared, "threadIdx.x" if across == 1 else "threadIdx.y")


def _follow(sch: s_tir.Schedule, total: Any, consumer: Any, across: int) -> None:
    """Do what comes after the sum in the block of threads that has it."""
    group = sch.get_loops(total)[0]
    sch.reverse_compute_at(consumer, group, preserve_unit_loops=True)
    own = sch.fuse(*sch.get_loops(consumer)[1:])
    _, column = sch.split(own, [None, across])
    sch.bind(column, "threadIdx.y" if across == 1 else "threadIdx.x")
    sch.set_scope(total, 0, "shared")


def _power_of_two(number: int) -> int:
    """The largest power of two that divides a number."""
    return number & -number
