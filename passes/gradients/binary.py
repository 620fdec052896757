"""Gradients of functions of two elements, summed where an operand was broadcast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import relax

from jointdnn_tvm.passes.gradients.adjoint import Adjoint, Rule

op = relax.op


def _rule(gradients: Callable[..., Sequence[Any]]) -> Rule:
    """From the operands, the result, its gradient and what makes a constant."""

    def rule(a: Adjoint) -> Sequence[Any]:
        by_operand = gradients(*a.args, a.result, a.gradient, a.number)
        return [a.fit(g, x) for g, x in zip(by_operand, a.args, strict=True)]

    return rule


def _power(x: Any, y: Any, z: Any, g: Any, c: Any) -> Sequence[Any]:
    # The exponent has a derivative where the base is positive; elsewhere a logarithm is NaN.
    positive = x > c(0)
    logarithm = op.log(op.where(positive, x, c(1)))
    return [g * y * op.power(x, y - c(1)), g * z * logarithm]


def _chosen(better: Callable[[Any, Any], Any]) -> Any:
    """Of the operand that was chosen; equal ones share it."""

    def gradients(x: Any, y: Any, _z: Any, g: Any, c: Any) -> Sequence[Any]:
        half = op.where(op.equal(x, y), g * c(0.5), c(0))
        return [op.where(better(x, y), g, half), op.where(better(y, x), g, half)]

    return gradients


def _log_add_exp(x: Any, y: Any, z: Any, g: Any, _c: Any) -> Sequence[Any]:
    return [g * op.exp(x - z), g * op.exp(y - z)]


def _where(a: Adjoint) -> Sequence[Any]:
    condition, x, y = a.args
    zero = relax.const(0, str(a.result.ty.dtype))
    return [
        None,
        a.fit(op.where(condition, a.gradient, zero), x),
        a.fit(op.where(condition, zero, a.gradient), y),
    ]


BINARY: dict[str, Rule] = {
    **{
        f"relax.{name}": _rule(gradients)
        for name, gradients in {
            "add": lambda _x, _y, _z, g, _c: [g, g],
            "divide": lambda _x, y, z, g, _c: [g / y, -g * z / y],
            "log_add_exp": _log_add_exp,
            "maximum": _chosen(op.greater),
            "minimum": _chosen(op.less),
            "multiply": lambda x, y, _z, g, _c: [g * y, g * x],
            "power": _power,
            "subtract": lambda _x, _y, _z, g, _c: [g, -g],
        }.items()
    },
    "relax.where": _where,
}
