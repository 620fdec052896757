"""Let kernels write their results where a concatenation wants them, instead of copying them there.

A concatenation whose parts are made by kernels of ours becomes one function with them: each
kernel's stores go into its slice of the result. Parts that others read too, or that come from
elsewhere, are copied as before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import ir, relax, tirx
from tvm.ir.expr import TensorLoad
from tvm.relax.expr_functor import PyExprMutator, PyExprVisitor, mutator, visitor

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.layouts import dims
from jointdnn_tvm.passes.schedule_blocks import SCHEDULED
from jointdnn_tvm.passes.schedule_for_cpu import WRITTEN
from jointdnn_tvm.targets import TargetProfile


@tvm.transform.module_pass(opt_level=0, name="WriteIntoConcat")
@dataclass
class WriteIntoConcat:
    """Join plain concatenations with the written kernels that feed them alone."""

    profile: TargetProfile

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the module with fewer copies."""
        joiner = _Joiner(module, self.profile)
        for var, function in module.functions.items():
            if isinstance(function, relax.Function):
                uses = _Uses()
                uses.visit_expr(function)
                joiner.begin(uses)
                joiner.builder_.update_func(var, joiner.visit_expr(function))
        joined = joiner.builder_.get()
        return relax.transform.DeadCodeElimination()(joined)


@visitor
class _Uses(PyExprVisitor):
    """How often a function reads each variable, and the calls that variables are bound to."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[relax.Var, int] = {}
        self.calls: dict[relax.Var, relax.Call] = {}

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        if _is_kernel_call(binding.value):
            self.calls[binding.var] = binding.value
        super().visit_var_binding_(binding)

    def visit_var_(self, op: relax.Var) -> None:
        self.counts[op] = self.counts.get(op, 0) + 1

    def visit_dataflow_var_(self, op: relax.DataflowVar) -> None:
        self.visit_var_(op)


def _is_kernel_call(value: Any) -> bool:
    return (
        isinstance(value, relax.Call)
        and getattr(value.op, "name", "") == "relax.call_tir"
        and isinstance(value.args[1], relax.Tuple)
        and len(value.args) == 2
    )


@mutator
class _Joiner(PyExprMutator):
    """Replaces calls of concatenations."""

    def __init__(self, module: tvm.IRModule, profile: TargetProfile) -> None:
        super().__init__(module)
        self._module = module
        self._profile = profile
        self._uses: Any = None

    def begin(self, uses: Any) -> None:
        """Starts on a function whose variables are used so."""
        self._uses = uses

    def visit_call_(self, op: relax.Call) -> relax.Expr:
        parts = self._parts(op)
        found = {part: self._made_for_it(part) for part in parts or []}
        made = {part: call for part, call in found.items() if call is not None}
        # Each joined function is compiled anew: worth it where it saves more than it copies.
        if parts is None or 2 * sum(map(_elements, made)) < _elements(op):
            return self.visit_expr_post_order(op)
        arguments: list[relax.Expr] = []
        pieces: list[tirx.PrimFunc | None] = []
        for part in parts:
            call = made.get(part)
            read = [part] if call is None else call.args[1]
            arguments += [self.visit_expr(argument) for argument in read]
            pieces.append(None if call is None else self._module[call.args[0]])
        function = _joined(pieces, [dims(part) for part in parts], dims(op), self._profile)
        var = self.builder_.add_func(function, f"{op.args[0].name_hint}_joined")
        return relax.call_tir(var, relax.Tuple(arguments), op.ty_args[0])

    def _made_for_it(self, part: relax.Var) -> relax.Call | None:
        """The call of a written kernel that makes a part which nobody else reads."""
        call = self._uses.calls.get(part) if self._uses.counts.get(part) == 1 else None
        if call is None or WRITTEN not in (self._module[call.args[0]].attrs or {}):
            return None
        return call

    def _parts(self, call: relax.Call) -> list[relax.Var] | None:
        """The operands of a plain concatenation of float32."""
        if not _is_kernel_call(call) or not call.args[0].name_hint.startswith("concatenate"):
            return None
        parts = list(call.args[1])
        floats = all(str(v.ty.dtype) == "float32" for v in [*parts, call])
        if not floats or _axis([dims(part) for part in parts], dims(call)) is None:
            return None
        return parts


def _elements(value: relax.Expr) -> int:
    return math.prod(dims(value))


def _axis(parts: Sequence[Sequence[int]], whole: Sequence[int]) -> int | None:
    """The axis along which the parts make up the whole."""
    if any(len(part) != len(whole) for part in parts):
        return None
    differ = [i for i, size in enumerate(whole) if any(part[i] != size for part in parts)]
    if len(differ) != 1 or sum(part[differ[0]] for part in parts) != whole[differ[0]]:
        return None
    return differ[0]


def _joined(
    pieces: Sequence[tirx.PrimFunc | None],
    parts: Sequence[Sequence[int]],
    whole: Sequence[int],
    profile: TargetProfile,
) -> tirx.PrimFunc:
    """One function that makes all parts, each by its kernel or by copying an operand."""
    axis = _axis(parts, whole)
    assert axis is not None
    result = tirx.decl_buffer(list(whole), "float32", "joined")
    params: list[Any] = []
    statements: list[Any] = []
    offset = 0
    for piece, shape in zip(pieces, parts, strict=True):
        if piece is None:
            source = tirx.decl_buffer(list(shape), "float32", "part")
            params.append(source)
            statements += _copied(source, result, (axis, offset), profile)
        else:
            inputs, body = _redirected(piece, result, (axis, offset))
            params += inputs
            statements.append(body)
        offset += shape[axis]
    function = tirx.PrimFunc([*params, result], emit.sequence(statements))
    return function.with_attr({"s_tir": True, "tirx.noalias": True, SCHEDULED: True})


def _redirected(
    kernel: tirx.PrimFunc, result: Any, place: tuple[int, int]
) -> tuple[list[Any], Any]:
    """The kernel's body over parameters of its own, with its output in a slice of `result`."""
    *inputs, output = kernel.params
    fresh = [
        tirx.decl_buffer(list(b.shape), str(b.dtype), b.name, data_alignment=b.data_alignment)
        for b in inputs
    ]

    def store(statement: tirx.BufferStore) -> Any:
        if not statement.buffer.same_as(output):
            return statement
        return tirx.BufferStore(result, statement.value, _shifted(statement.indices, place))

    def load(expression: Any) -> Any:
        if not expression.source.same_as(output):
            return expression
        return tirx.BufferLoad(result, _shifted(expression.indices, place))

    def variable(var: Any) -> Any:
        found = [new for old, new in zip(inputs, fresh, strict=True) if old.same_as(var)]
        return found[0] if found else var

    callbacks = [(tirx.BufferStore, store), (TensorLoad, load), (ir.Var, variable)]
    return fresh, tvm_ffi.structural_map(kernel.body, callbacks)


def _shifted(indices: Sequence[Any], place: tuple[int, int]) -> list[Any]:
    axis, offset = place
    return [index + offset if i == axis else index for i, index in enumerate(indices)]


def _copied(source: Any, result: Any, place: tuple[int, int], profile: TargetProfile) -> list[Any]:
    """Copies a whole operand into its slice, rows of the last axis shared out to the threads."""
    *outer, last = (int(extent) for extent in source.shape)
    rows = 1
    for extent in outer:
        rows *= extent

    def row(index: Any) -> list[Any]:
        lead: list[Any] = []
        for extent in reversed(outer):
            lead.insert(0, index % extent)
            index = index // extent

        def copy(position: Any) -> Any:
            value = tirx.BufferLoad(source, [*lead, position])
            return tirx.BufferStore(result, value, _shifted([*lead, position], place))

        return emit.vectors(last, profile.lanes, copy)

    return [emit.parallel(rows, row, "row")]
