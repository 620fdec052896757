"""What bounds a kernel on this machine: multiply-adds from registers, and the memory's rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from tvm import tirx

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.targets import TargetProfile

_MOST_SUMS = 24  # more than any core has in flight
_KEPT_REGISTERS = 4  # for the operands
_STEPS = 500_000
_TRIAD_NUMBERS = 8 << 20  # of each array: 32 MiB


def fma_loop(profile: TargetProfile, threads: int) -> Callable[[], float]:
    """A function that multiplies and adds in registers for some milliseconds, and gives FLOP/s."""
    lanes = profile.lanes
    count = min(_MOST_SUMS, profile.vector_registers - _KEPT_REGISTERS)
    x = tirx.decl_buffer((2 * lanes,), "float32", "x")
    out = tirx.decl_buffer((threads * count * lanes,), "float32", "out")

    def task(index: Any) -> list[Any]:
        sums, take = emit.allocate("sums", count * lanes)

        def each(value: Callable[[Any, Any], Any], to: Any, first: Any) -> list[Any]:
            def store(at: int) -> Callable[[Any], Any]:
                return lambda i: tirx.BufferStore(to, value(at + i, i), [first + at + i])

            return [emit.vector(lanes, store(at)) for at in range(0, count * lanes, lanes)]

        def step(_i: Any) -> list[Any]:
            return each(
                lambda at, lane: (
                    tirx.BufferLoad(sums, [at]) * tirx.BufferLoad(x, [lane])
                    + tirx.BufferLoad(x, [lane + lanes])
                ),
                sums,
                emit.number(0),
            )

        start = each(lambda _at, _lane: emit.zero(), sums, emit.number(0))
        end = each(lambda at, _lane: tirx.BufferLoad(sums, [at]), out, index * (count * lanes))
        return [take, *start, emit.serial(_STEPS, step), *end]

    run = _compiled(profile, [x, out], emit.parallel(threads, task))
    operands = np.repeat(np.array([0.5, 1.0], np.float32), lanes)  # the sums approach 2
    arguments = [tvm.runtime.tensor(operands), _zeros(threads * count * lanes)]
    work = 2.0 * threads * count * lanes * _STEPS
    return lambda: work / _seconds(run, arguments)


def triad(profile: TargetProfile, threads: int) -> Callable[[], float]:
    """A function that computes a = b + s * c over large arrays, and gives bytes/s."""
    a, b, c = (tirx.decl_buffer((_TRIAD_NUMBERS,), "float32", name) for name in "abc")
    block = _TRIAD_NUMBERS // threads

    def task(index: Any) -> list[Any]:
        def store(i: Any) -> Any:
            at = index * block + i
            total = tirx.BufferLoad(b, [at]) + tirx.BufferLoad(c, [at]) * emit.zero(3.0)
            return tirx.BufferStore(a, total, [at])

        return emit.vectors(block, profile.lanes, store)

    run = _compiled(profile, [a, b, c], emit.parallel(threads, task))
    arguments = [_zeros(_TRIAD_NUMBERS) for _ in "abc"]
    moved = 3.0 * 4 * block * threads
    return lambda: moved / _seconds(run, arguments)


def _compiled(profile: TargetProfile, buffers: list[Any], body: Any) -> Callable[..., None]:
    attributes = {"global_symbol": "loop", "tirx.noalias": True, "s_tir": True}
    function = tirx.PrimFunc(buffers, body).with_attr(attributes)
    module = tvm.compile(tvm.IRModule({"loop": function}), tvm_target(profile))
    loop: Callable[..., None] = module["loop"]
    return loop


def _zeros(count: int) -> Any:
    return tvm.runtime.tensor(np.zeros(count, np.float32))


def _seconds(run: Callable[..., None], arguments: list[Any]) -> float:
    start = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - start
