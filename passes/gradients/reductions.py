"""Gradients of sums and the like, which spread over the elements that went into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import relax

from jointdnn_tvm.passes.gradients.adjoint import Adjoint, Rule, elements
from jointdnn_tvm.passes.layouts import dims

op = relax.op


def _rule(gradient: Callable[[Any, Any, Any, float, Adjoint], Any]) -> Rule:
    """From the operand, result and gradient of shapes that broadcast to it, and the elements."""

    def rule(a: Adjoint) -> Sequence[Any]:
        x, axes = a.args[0], a.axes()
        shape = dims(x)
        kept = [1 if axis in axes else extent for axis, extent in enumerate(shape)]
        y, g = a.emit(op.reshape(a.result, kept)), a.emit(op.reshape(a.gradient, kept))
        return [gradient(x, y, g, elements(shape, axes), a)]

    return rule


def _spread(x: Any, g: Any) -> Any:
    return op.broadcast_to(g, dims(x))


def _extreme(x: Any, y: Any, g: Any, _count: float, a: Adjoint) -> Any:
    """Shared by all elements that are the extreme."""
    hits = a.emit(op.astype(op.equal(x, y), str(x.ty.dtype)))
    return hits * (g / op.sum(hits, a.axes(), keepdims=True))


def _variance(x: Any, _y: Any, g: Any, count: float, a: Adjoint) -> Any:
    return g * a.number(2 / count) * (x - op.mean(x, a.axes(), keepdims=True))


def _deviation(x: Any, y: Any, g: Any, count: float, a: Adjoint) -> Any:
    return g * (x - op.mean(x, a.axes(), keepdims=True)) / (a.number(count) * y)


REDUCTIONS: dict[str, Rule] = {
    f"relax.{name}": _rule(gradient)
    for name, gradient in {
        "max": _extreme,
        "mean": lambda x, _y, g, count, a: _spread(x, g * a.number(1 / count)),
        "min": _extreme,
        "std": _deviation,
        "sum": lambda x, _y, g, _count, _a: _spread(x, g),
        "variance": _variance,
    }.items()
}
