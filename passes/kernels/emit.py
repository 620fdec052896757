"""TensorIR statements put together in Python: loops as functions of their bodies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tvm import tirx

Body = Callable[[Any], Iterable[Any]]
"""The statements of a loop, given its variable."""

INDEX = "int64"
_WRITTEN_OUT = 4  # on a Cortex-A76, 61 instead of 54 % of narrow tiles' instructions multiply
_LONG = 36  # iterations: more than 11 x 3, a row of a first layer's window


def number(value: int | Any) -> Any:
    """An index: a Python integer as a constant, an expression as it is."""
    return tirx.const(value, INDEX) if isinstance(value, int) else value


def sequence(statements: Iterable[Any]) -> Any:
    """One statement that runs these in order."""
    listed = list(statements)
    if len(listed) == 1:
        return listed[0]
    return tirx.SeqStmt(listed) if listed else tirx.Evaluate(tirx.const(0, "int32"))


def serial(extent: int | Any, body: Body, name: str = "i") -> Any:
    """A loop; one that runs once is written without."""
    return _loop(extent, body, name, tirx.ForKind.SERIAL)


def unrolled(
    extent: int,
    body: Body,
    name: str = "i",
    before: Callable[[Any, int], Iterable[Any]] = lambda _first, _count: (),
    written_out: int = 0,
) -> Any:
    """A loop that runs in order, a few of its iterations written out in each of its own.

    `before` gives what comes before those, told the first and how many they are.

    So many are `written_out` where that is told. Otherwise short loops, as of first layers, are
    left to LLVM, which on a Cortex-A76 then does not spill.
    """
    count = written_out or (_WRITTEN_OUT if extent >= _LONG else 1)
    if count == 1 or count > extent:
        return serial(extent, body, name)
    full, rest = divmod(extent, count)

    def some(i: Any) -> list[Any]:
        first = i * count
        steps = [statement for step in range(count) for statement in body(first + step)]
        return [*before(first, count), *steps]

    parts = [serial(full, some, name)]
    if rest:
        parts.append(serial(rest, lambda i: body(i + full * count), name))
    return sequence(parts)


def parallel(extent: int, body: Body, name: str = "task") -> Any:
    """A loop whose iterations the threads share out."""
    return _loop(extent, body, name, tirx.ForKind.PARALLEL)


def vector(lanes: int, body: Callable[[Any], Any]) -> Any:
    """One statement in vector registers, given the lane."""
    return _loop(lanes, lambda lane: [body(lane)], "lane", tirx.ForKind.VECTORIZED)


def in_vectors(count: int, lanes: int, body: Callable[[Any, int], Iterable[Any]]) -> list[Any]:
    """Runs over `count` positions: `body` gets the first of each vector and its number of lanes.

    The last vector is narrower where the count is no multiple.
    """
    full, rest = divmod(count, lanes)
    parts = [serial(full, lambda i: body(i * lanes, lanes), "v")] if full else []
    return parts + (list(body(number(full * lanes), rest)) if rest else [])


def vectors(count: int, lanes: int, body: Callable[[Any], Any]) -> list[Any]:
    """A statement for each of `count` positions, given the position."""
    return in_vectors(
        count, lanes, lambda first, width: [vector(width, lambda lane: body(first + lane))]
    )


def _loop(extent: int | Any, body: Body, name: str, kind: Any) -> Any:
    if isinstance(extent, int) and extent == 1:
        return sequence(body(number(0)))
    variable = tirx.Var(name, INDEX)
    return tirx.For(variable, number(0), number(extent), kind, sequence(body(variable)))


def when(condition: Any, *statements: Any) -> Any:
    """Statements that run where the condition holds."""
    return tirx.IfThenElse(condition, sequence(statements), None)


def bind(name: str, value: Any) -> tuple[Any, Any]:
    """A named value and the statement that gives it its value."""
    variable = tirx.Var(name, INDEX)
    return variable, tirx.Bind(variable, value)


def allocate(name: str, size: int) -> tuple[Any, Any]:
    """A float32 scratch buffer and the statement that allocates it.

    TVM takes those of fewer than 256 numbers from the stack, where LLVM turns them into registers.
    Longer ones, and those of scope ``local`` whatever their size, cost a call each time.
    """
    buffer = tirx.decl_buffer((size,), "float32", name)
    return buffer, tirx.AllocBuffer(buffer, {})


def prefetch(buffer: Any, place: Any) -> Any:
    """Has the processor fetch the cache line of an element, which may lie past the end."""
    read, keep, data = (tirx.const(value, "int32") for value in (0, 3, 1))
    address = tirx.address_of(tirx.BufferLoad(buffer, [place]))
    return tirx.Evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch", address, read, keep, data))


def flat(buffer: Any) -> tuple[Any, Any]:
    """A view of a dense buffer with one dimension, and the statement that declares it."""
    size = 1
    for extent in buffer.shape:
        size *= int(extent)
    view = tirx.decl_buffer((size,), str(buffer.dtype), f"{buffer.name}_flat", data=buffer.data)
    return view, tirx.DeclBuffer(view, data=buffer.data)


def zero(value: float = 0.0) -> Any:
    """A float32 constant."""
    return tirx.const(value, "float32")


def unravel(row: Any, shape: Sequence[int]) -> list[Any]:
    """The index of each dimension, from the number of an element in row-major order."""
    place: list[Any] = []
    for position, extent in enumerate(reversed(shape)):
        outermost = math.prod(shape[: len(shape) - 1 - position]) == 1
        place.append(number(0) if extent == 1 else row if outermost else row % extent)
        row = row // extent
    return place[::-1]
