"""Loops and statements: the few forms in which they are left out, and what they run over."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import tirx

from jointdnn_tvm.passes.kernels import emit

SIZE = 40


def _run(x: Any, *statements: Any) -> np.ndarray[Any, Any]:
    """What is in a buffer afterwards; before, it holds 0, 1, 2, …"""
    function = tirx.PrimFunc([x], emit.sequence(statements)).with_attr("global_symbol", "f")
    tensor = tvm.runtime.tensor(np.arange(SIZE, dtype=np.float32).reshape(tuple(map(int, x.shape))))
    tvm.compile(tvm.IRModule({"f": function}), "llvm")["f"](tensor)
    return np.asarray(tensor.numpy()).reshape(-1)


def _buffer(*shape: int) -> Any:
    return tirx.decl_buffer(shape or (SIZE,), "float32", "x")


def _add_100(x: Any, place: Any) -> Any:
    return tirx.BufferStore(x, tirx.BufferLoad(x, [place]) + emit.zero(100), [place])


def _add_100_each(x: Any, places: Iterable[Any]) -> list[Any]:
    return [_add_100(x, place) for place in places]


@pytest.mark.parametrize("lanes", [1, 4, 8])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 17, 32])
def test_vectors_run_once_over_every_position(count: int, lanes: int) -> None:
    x = _buffer()
    found = _run(x, *emit.vectors(count, lanes, lambda i: _add_100(x, i)))
    np.testing.assert_array_equal(found, np.arange(SIZE) + 100 * (np.arange(SIZE) < count))


@pytest.mark.parametrize(("count", "widths"), [(8, [4]), (9, [4, 1]), (3, [3]), (0, [])])
def test_last_vector_is_narrower(count: int, widths: list[int]) -> None:
    seen = []

    def body(first: Any, lanes: int) -> list[Any]:
        seen.append(lanes)
        return [_add_100(_buffer(), first)]

    emit.in_vectors(count, 4, body)
    assert seen == widths


@pytest.mark.parametrize("count", [1, 3, 35, 36, 37, 39, 40])
def test_unrolled_loop_runs_once_over_every_position(count: int) -> None:
    x = _buffer()
    found = _run(x, emit.unrolled(count, lambda i: [_add_100(x, i)]))
    np.testing.assert_array_equal(found, np.arange(SIZE) + 100 * (np.arange(SIZE) < count))


def test_something_may_come_before_the_steps_that_are_written_out() -> None:
    x, seen = _buffer(), []

    def before(first: Any, count: int) -> list[Any]:
        seen.append(count)
        return [_add_100(x, first)]

    found = _run(x, emit.unrolled(38, lambda i: [_add_100(x, i)], "i", before))
    places = np.arange(SIZE)
    begins = (places < 36) & (places % 4 == 0)
    assert seen == [4]
    np.testing.assert_array_equal(found, places + 100 * (places < 38) + 100 * begins)


def test_prefetch_changes_nothing() -> None:
    x = _buffer()
    found = _run(x, emit.prefetch(x, 3), emit.prefetch(x, 10 * SIZE))
    np.testing.assert_array_equal(found, np.arange(SIZE))


@pytest.mark.parametrize("loop", [emit.serial, emit.parallel])
def test_loop_runs_its_body_for_each_number(loop: Any) -> None:
    x = _buffer()
    found = _run(x, loop(7, lambda i: _add_100_each(x, [i, i + 20])))
    places = np.arange(SIZE)
    expected = places + 100 * ((places < 7) | ((places >= 20) & (places < 27)))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("loop", [emit.serial, emit.parallel])
def test_loop_that_runs_once_is_left_out(loop: Any) -> None:
    x = _buffer()
    statement = loop(1, lambda i: [_add_100(x, i)])
    tvm.ir.assert_structural_equal(statement, _add_100(x, emit.number(0)), map_free_vars=True)


def test_loop_to_a_number_known_at_run_time() -> None:
    x = _buffer()
    limit, see = emit.bind("limit", tirx.min(emit.number(30), 5))
    found = _run(x, see, emit.serial(limit, lambda i: [_add_100(x, i)]))
    np.testing.assert_array_equal(found, np.arange(SIZE) + 100 * (np.arange(SIZE) < 5))


def test_kinds_of_loops() -> None:
    x = _buffer()
    loops = [
        emit.serial(2, lambda i: [_add_100(x, i)]),
        emit.parallel(2, lambda i: [_add_100(x, i)]),
        emit.vector(2, lambda i: _add_100(x, i)),
    ]
    kinds = [tirx.ForKind.SERIAL, tirx.ForKind.PARALLEL, tirx.ForKind.VECTORIZED]
    assert [loop.kind for loop in loops] == kinds


def test_sequence_of_one_is_that_one_and_of_none_does_nothing() -> None:
    x = _buffer()
    one = _add_100(x, emit.number(3))
    assert emit.sequence([one]).same_as(one)
    found = _run(x, emit.sequence([]))
    np.testing.assert_array_equal(found, np.arange(SIZE))
    found = _run(x, emit.sequence([one, one]))
    assert found[3] == 203


def test_statements_run_where_the_condition_holds() -> None:
    x = _buffer()

    def body(i: Any) -> list[Any]:
        return [emit.when(i % 3 == 0, _add_100(x, i), _add_100(x, i))]

    found = _run(x, emit.serial(SIZE, body))
    np.testing.assert_array_equal(found, np.arange(SIZE) + 200 * (np.arange(SIZE) % 3 == 0))


def test_flat_view_is_the_same_memory() -> None:
    x = _buffer(5, 8)
    view, see = emit.flat(x)
    assert [int(extent) for extent in view.shape] == [SIZE]
    found = _run(x, see, _add_100(view, emit.number(13)))
    np.testing.assert_array_equal(found, np.arange(SIZE) + 100 * (np.arange(SIZE) == 13))


@pytest.mark.parametrize("size", [SIZE, 4096])
def test_scratch_holds_what_was_put_there(size: int) -> None:
    x = _buffer()
    scratch, take = emit.allocate("scratch", size)

    def put(i: Any) -> Any:
        return tirx.BufferStore(scratch, tirx.BufferLoad(x, [i]), [i])

    def reverse(i: Any) -> Any:
        return tirx.BufferStore(x, tirx.BufferLoad(scratch, [SIZE - 1 - i]), [i])

    loops = emit.serial(SIZE, lambda i: [put(i)]), emit.serial(SIZE, lambda i: [reverse(i)])
    found = _run(x, take, *loops)
    np.testing.assert_array_equal(found, np.arange(SIZE)[::-1])


@pytest.mark.parametrize(("size", "called"), [(8, False), (255, False), (256, True)])
def test_short_scratch_is_taken_without_a_call(size: int, called: bool) -> None:
    x = _buffer(size)
    scratch, take = emit.allocate("scratch", size)

    def turn(i: Any) -> list[Any]:
        value = tirx.BufferLoad(scratch, [size - 1 - i])
        return [tirx.BufferStore(x, value, [i])]

    def fill(i: Any) -> list[Any]:
        return [tirx.BufferStore(scratch, tirx.BufferLoad(x, [i]), [i])]

    body = emit.sequence([take, emit.serial(size, fill), emit.serial(size, turn)])
    function = tirx.PrimFunc([x], body).with_attr("global_symbol", "f")
    built = tvm.compile(tvm.IRModule({"f": function}), "llvm")
    assert ("TVMBackendAllocWorkspace" in built.mod.inspect_source("ll")) == called


def test_number_is_a_constant_of_64_bits_or_the_expression_itself() -> None:
    constant = emit.number(2**40)
    assert int(constant) == 2**40
    assert str(constant.ty) == emit.INDEX
    variable = tirx.Var("i", "int64")
    assert emit.number(variable).same_as(variable)


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 4), (1, 1, 5), (5, 1, 1), (1, 1, 1)])
def test_unravel_gives_the_index_of_each_dimension(shape: tuple[int, ...]) -> None:
    found = [tuple(int(i) for i in emit.unravel(row, shape)) for row in range(math.prod(shape))]
    assert found == list(np.ndindex(*shape))
