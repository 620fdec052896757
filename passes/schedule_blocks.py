"""What the schedules for every kind of device share: rules in turn, and questions about blocks."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir.expr import TensorLoad

from jointdnn_tvm.passes.kernels.site import KERNEL

logger = logging.getLogger(__name__)

Rule = Callable[[tirx.PrimFunc], tirx.PrimFunc | None]
SCHEDULED = "tirx.is_scheduled"

_REDUCE = 2  # tirx.IterVar.iter_type: commutative reduction
_WORK_DONE_TWICE = 16  # operations that are rather repeated than their result kept in memory
_CALL_WORK = 10  # operations that a call of a function stands for
_OPERATIONS = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Max, tirx.Min, tirx.Select)


def schedule_functions(
    module: tvm.IRModule, rules: Sequence[Rule], fits: Callable[[tirx.PrimFunc], bool]
) -> tvm.IRModule:
    """Schedule every function that has no schedule yet, by the first rule whose result fits.

    A rule that raises or returns None does not fit; where none does, plain loops stay.
    """
    functions = dict(module.functions.items())
    for var, function in functions.items():
        if isinstance(function, tirx.PrimFunc) and SCHEDULED not in function.attrs:
            functions[var] = _scheduled(var.name_hint, function, rules, fits)
    return tvm.IRModule(functions, attrs=module.attrs)


def _scheduled(
    name: str,
    function: tirx.PrimFunc,
    rules: Sequence[Rule],
    fits: Callable[[tirx.PrimFunc], bool],
) -> tirx.PrimFunc:
    for rule in rules:
        try:
            scheduled = rule(function)
        except Exception as error:  # of many kinds; a slow kernel is better than none
            logger.debug("%s: %s does not fit: %s", name, rule.__name__, error)
            continue
        if scheduled is not None and fits(scheduled):
            logger.debug("%s: %s fits", name, rule.__name__)
            return scheduled.with_attr(SCHEDULED, True)
    logger.debug("%s stays a plain loop nest", name)
    return function


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
