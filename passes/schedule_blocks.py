"""What schedules for every kind of device ask of the blocks of a function, and do to them."""

from __future__ import annotations

import math
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir.expr import TensorLoad

from jointdnn_tvm.passes.kernels.site import KERNEL

_REDUCE = 2  # tirx.IterVar.iter_type: commutative reduction
_WORK_DONE_TWICE = 16  # operations that are rather repeated than their result kept in memory
_CALL_WORK = 10  # operations that a call of a function stands for
_OPERATIONS = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Max, tirx.Min, tirx.Select)


def blocks(sch: s_tir.Schedule) -> list[Any]:
    """The blocks of a function, in order."""
    return list(sch.get_child_blocks(sch.get_sblock("root")))


def is_reduction(sch: s_tir.Schedule, block: Any) -> bool:
    """Whether a block sums up, or takes the largest, over an axis."""
    return any(int(v.iter_type) == _REDUCE for v in sch.get(block).iter_vars)


def inline(sch: s_tir.Schedule) -> None:
    """Inline elementwise blocks, but those of a kernel, padding (its branch would sit in the inner
    loop), what a reduction shares with others, and what is much work done more than once."""
    for block in blocks(sch):
        consumers = sch.get_consumers(block)
        shared = len(consumers) > 1 and any(is_reduction(sch, c) for c in consumers)
        padding = sch.get(block).name_hint.startswith("pad")
        marked = KERNEL in sch.get(block).annotations
        if not consumers or is_reduction(sch, block) or shared or padding or marked:
            continue
        if _work(sch, block) > _WORK_DONE_TWICE and _uses(sch, block, consumers) > 1:
            continue
        try:
            sch.compute_inline(block)
        except s_tir.ScheduleError:
            continue  # not a plain assignment: it keeps loops of its own


def _work(sch: s_tir.Schedule, block: Any) -> int:
    """Operations of one element."""
    simple: list[Any] = []
    calls: list[Any] = []
    body = sch.get(block).body
    tvm_ffi.structural_walk(body, [(_OPERATIONS, simple.append), (tvm.ir.Call, calls.append)])
    return len(simple) + _CALL_WORK * len(calls)


def _uses(sch: s_tir.Schedule, block: Any, consumers: Any) -> float:
    """How often, in the mean, an element is read."""
    result = sch.get(block).writes[0].source
    elements = math.prod(int(extent) for extent in result.shape)
    reads = 0.0
    for consumer in consumers:
        loads: list[Any] = []
        tvm_ffi.structural_walk(sch.get(consumer).body, (TensorLoad, loads.append))
        runs = math.prod(int(axis.dom.extent) for axis in sch.get(consumer).iter_vars)
        reads += runs * sum(load.source.same_as(result) for load in loads)
    return reads / max(1, elements)
