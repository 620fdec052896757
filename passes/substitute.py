"""Other expressions in the place of variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator


def substitution(values: Mapping[relax.Var, relax.Expr]) -> Callable[[relax.Expr], relax.Expr]:
    """What puts expressions in the place of variables, as the mapping is at the time."""
    return _Substitute(values).visit_expr  # type: ignore[no-any-return]


@mutator
class _Substitute(PyExprMutator):
    def __init__(self, values: Mapping[relax.Var, relax.Expr]) -> None:
        super().__init__()
        self.values = values

    def visit_var_(self, op: relax.Var) -> relax.Expr:
        return self.values.get(op, op)

    def visit_dataflow_var_(self, op: relax.DataflowVar) -> relax.Expr:
        return self.values.get(op, op)
