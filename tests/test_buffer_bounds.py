"""The check of kernels' bounds finds what is out of them, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tvm import tirx

from jointdnn_tvm.passes.kernels import emit
from tests.buffer_bounds import outside

Index = Callable[[Any], Any]


def _copy(loop: Any, to: Index, read: Callable[[Any, Any], Any]) -> list[str]:
    """y[to(i)] = read(x, i) for ten numbers of each."""
    x, y = (tirx.decl_buffer((10,), "float32", name) for name in "xy")

    def store(i: Any) -> Any:
        return tirx.BufferStore(y, read(x, i), [to(i)])

    body = loop(10, store if loop is emit.vector else lambda i: [store(i)])
    return outside(tirx.PrimFunc([x, y], body))


def _at(index: Index) -> Callable[[Any, Any], Any]:
    return lambda x, i: tirx.BufferLoad(x, [index(i)])


def _same(i: Any) -> Any:
    return i


LOOPS = [emit.serial, emit.parallel, emit.vector]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("to", "read"),
    [
        (_same, _at(_same)),
        (lambda i: 9 - i, _at(lambda i: tirx.min(i + 1, 9))),
        (_same, _at(lambda i: i // 3 + i % 3)),
        (_same, lambda x, i: tirx.if_then_else(i >= 1, _at(lambda j: j - 1)(x, i), emit.zero())),
        (_same, lambda x, i: tirx.if_then_else(i < 1, emit.zero(), _at(lambda j: j - 1)(x, i))),
    ],
)
def test_kernel_within_its_buffers(loop: Any, to: Index, read: Any) -> None:
    assert _copy(loop, to, read) == []


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("to", "read", "what"),
    [
        (lambda i: i + 1, _at(_same), "writes y"),
        (lambda i: i - 1, _at(_same), "writes y"),
        (_same, _at(lambda i: i + 1), "reads x"),
        (_same, _at(lambda i: tirx.max(i - 1, -1)), "reads x"),
        (
            _same,
            lambda x, i: tirx.if_then_else(i >= 0, _at(lambda j: j - 1)(x, i), emit.zero()),
            "reads x",
        ),
        (
            _same,
            lambda x, i: tirx.if_then_else(i >= 1, emit.zero(), _at(lambda j: j - 1)(x, i)),
            "reads x",
        ),
    ],
)
def test_index_out_of_bounds_is_found(loop: Any, to: Index, read: Any, what: str) -> None:
    (found,) = _copy(loop, to, read)
    assert found.startswith(what)


def test_statement_runs_only_where_its_condition_holds() -> None:
    x = tirx.decl_buffer((10,), "float32", "x")

    def guarded(limit: int) -> list[str]:
        def body(i: Any) -> list[Any]:
            place, see = emit.bind("place", i * 2)
            store = tirx.BufferStore(x, emit.zero(), [place])
            return [see, emit.when(tirx.all(place < limit, i >= 0), store)]

        return outside(tirx.PrimFunc([x], emit.serial(10, body)))

    assert guarded(10) == []
    assert len(guarded(11)) == 1
