"""Keep kernels within their groups, so that a group computes the same bits wherever it is placed.

Kernels otherwise fuse as far as a stage reaches, and a sum that fuses with a product before it
rounds once where two kernels round twice: where a placement cuts would show in the last bit.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

_END = "jointdnn.end_of_group"


@tvm.transform.module_pass(opt_level=0, name="KeepGroupsApart")
class KeepGroupsApart:
    """Mark the results of groups in the functions that call them; no kernel fuses over a mark."""

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the marked module."""
        return _each_function(module, _Marker(module))


@tvm.transform.module_pass(opt_level=0, name="DropGroupEnds")
class DropGroupEnds:
    """Drop the marks, when kernels are fused."""

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the module without marks."""
        return _each_function(module, _Dropper(module))


def _each_function(module: tvm.IRModule, change: Any) -> tvm.IRModule:
    for var, function in module.functions.items():
        if isinstance(function, relax.Function):
            change.builder_.update_func(var, change.visit_expr(function))
    return change.builder_.get()


@mutator
class _Marker(PyExprMutator):
    def visit_call_(self, op: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(op)
        if not isinstance(op.op, relax.GlobalVar):
            return call
        made = self.builder_.emit(call)
        if not isinstance(op.ty, relax.TupleType):
            return _marked(made, op.ty)
        fields = [relax.TupleGetItem(made, i) for i in range(len(op.ty.fields))]
        ends = [
            self.builder_.emit(_marked(self.builder_.emit(field), kind))
            for field, kind in zip(fields, op.ty.fields, strict=True)
        ]
        return relax.Tuple(ends)


def _marked(value: relax.Expr, kind: Any) -> relax.Expr:
    return relax.op.call_pure_packed(_END, value, ty_args=kind)


@mutator
class _Dropper(PyExprMutator):
    def visit_call_(self, op: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(op)
        name = getattr(op.op, "name", "")
        if name != "relax.call_pure_packed" or str(op.args[0].global_symbol) != _END:
            return call
        return call.args[1]
