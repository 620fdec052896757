"""Other expressions in the place of variables."""

from __future__ import annotations

from tvm import relax

from jointdnn_tvm.passes.substitute import substitution

op = relax.op


def _var(name: str) -> relax.Var:
    return relax.Var(name, relax.TensorType((2,), "float32"))


def test_variables_of_the_mapping_are_replaced() -> None:
    a, b, c = _var("a"), _var("b"), _var("c")
    put = substitution({a: c})
    left, right = put(op.add(a, b)).args
    assert left.same_as(c)
    assert right.same_as(b)


def test_mapping_may_grow() -> None:
    a, b = _var("a"), _var("b")
    values: dict[relax.Var, relax.Expr] = {}
    put = substitution(values)
    assert put(a).same_as(a)
    values[a] = b
    assert put(a).same_as(b)
