"""Whether a lowered kernel stays within its buffers: its loops run in Python, on indices alone.

What a tile computes beyond the end of a row is mostly overwritten by the next one, and beyond the
end of a buffer nothing shows it, so comparing results does not find wrong bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tvm_ffi
from tvm import ir, tirx
from tvm.ir.expr import TensorLoad

_BETWEEN = {
    tirx.Add: "+",
    tirx.Sub: "-",
    tirx.Mul: "*",
    tirx.FloorDiv: "//",
    tirx.FloorMod: "%",
    tirx.LT: "<",
    tirx.LE: "<=",
    tirx.GT: ">",
    tirx.GE: ">=",
    tirx.EQ: "==",
    tirx.NE: "!=",
    tirx.And: "and",
    tirx.Or: "or",
}
_FIRST_AND_LAST = {"k", "lane"}  # loops along which indices only grow


def outside(kernel: tirx.PrimFunc) -> list[str]:
    """What is read or written out of bounds, each place in the kernel once."""
    program = _Program()
    lines = ["def run(found):", *_indented(program.statement(kernel.body))]
    names: dict[str, Any] = {"ends": lambda count: sorted({0, count - 1}) if count > 0 else []}
    exec(compile("\n".join(lines), "kernel", "exec"), names)
    found: dict[str, int] = {}
    names["run"](found)
    return [f"{place}: {index}" for place, index in found.items()]


def _indented(lines: Iterator[str]) -> list[str]:
    return [f"  {line}" for line in lines] or ["  pass"]


class _Program:
    """Statements of a kernel as lines of Python that note indices out of bounds."""

    def __init__(self) -> None:
        self._names: dict[Any, str] = {}

    def statement(self, stmt: Any) -> Iterator[str]:
        if isinstance(stmt, tirx.SeqStmt):
            for part in stmt.seq:
                yield from self.statement(part)
        elif isinstance(stmt, tirx.For):
            run = "ends" if stmt.loop_var.name in _FIRST_AND_LAST else "range"
            yield f"for {self._name(stmt.loop_var)} in {run}({self._text(stmt.extent)}):"
            yield from _indented(self.statement(stmt.body))
        elif isinstance(stmt, tirx.IfThenElse):
            yield f"if {self._text(stmt.condition)}:"
            yield from _indented(self.statement(stmt.then_case))
            if stmt.else_case is not None:
                yield "else:"
                yield from _indented(self.statement(stmt.else_case))
        elif isinstance(stmt, tirx.Bind):
            yield f"{self._name(stmt.var)} = {self._text(stmt.value)}"
        elif isinstance(stmt, tirx.BufferStore):
            yield from self._reads(stmt.value)
            yield from self._access("writes", stmt.buffer, stmt.indices)
        elif isinstance(stmt, tirx.AttrStmt):
            yield from self.statement(stmt.body)
        else:
            assert isinstance(stmt, (tirx.AllocBuffer, tirx.DeclBuffer, tirx.Evaluate)), type(stmt)

    def _reads(self, value: Any) -> Iterator[str]:
        """Of a value; those in a branch of a choice only where that is taken."""
        choices: list[Any] = []
        loads: list[Any] = []

        def call(node: Any) -> None:
            if str(getattr(node.op, "name", "")).endswith("if_then_else"):
                choices.append(node)

        tvm_ffi.structural_walk(value, [(ir.Call, call), (TensorLoad, loads.append)])
        for choice in choices:
            condition, *branches = choice.args
            for branch, taken in zip(branches, ("", "not "), strict=True):
                lines = [line for load in _loads(branch) for line in self._load(load)]
                yield f"if {taken}({self._text(condition)}):"
                yield from _indented(iter(lines))
        guarded = [load for choice in choices for b in choice.args[1:] for load in _loads(b)]
        for load in loads:
            if not any(load.same_as(other) for other in guarded):
                yield from self._load(load)

    def _load(self, load: Any) -> Iterator[str]:
        return self._access("reads", load.source, load.indices)

    def _access(self, what: str, buffer: Any, indices: Any) -> Iterator[str]:
        for axis, (index, extent) in enumerate(zip(indices, buffer.shape, strict=True)):
            text = self._text(index)
            place = f"{what} {buffer.name}, axis {axis} of {extent}: {text}"
            yield f"if not 0 <= {text} < {int(extent)}: found[{place!r}] = {text}"

    def _name(self, var: Any) -> str:
        return self._names.setdefault(var, f"v{len(self._names)}")

    def _text(self, expr: Any) -> str:
        if isinstance(expr, tirx.IntImm):
            return str(int(expr))
        if isinstance(expr, ir.Var):
            return self._names[expr]
        if isinstance(expr, (tirx.Min, tirx.Max)):
            return f"{type(expr).__name__.lower()}({self._text(expr.a)}, {self._text(expr.b)})"
        if isinstance(expr, tirx.Not):
            return f"(not {self._text(expr.a)})"
        if isinstance(expr, tirx.Cast):
            return self._text(expr.value)
        return f"({self._text(expr.a)} {_BETWEEN[type(expr)]} {self._text(expr.b)})"


def _loads(value: Any) -> list[Any]:
    found: list[Any] = []
    tvm_ffi.structural_walk(value, (TensorLoad, found.append))
    return found
