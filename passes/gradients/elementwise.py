"""Gradients of functions of one element: the gradient of the result times their derivative."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import relax

from jointdnn_tvm.passes.gradients.adjoint import Adjoint, Rule
from jointdnn_tvm.passes.layouts import dims, rank

op = relax.op


def _rule(gradient: Callable[[Any, Any, Any, Callable[[float], Any]], Any]) -> Rule:
    """From the operand, the result, its gradient and what makes a constant."""

    def rule(a: Adjoint) -> Sequence[Any]:
        return [gradient(a.args[0], a.result, a.gradient, a.number)]

    return rule


def _gelu(x: Any, _y: Any, g: Any, c: Any) -> Any:
    below = c(0.5) * (c(1) + op.erf(x * c(math.sqrt(0.5))))
    density = c(1 / math.sqrt(2 * math.pi)) * op.exp(c(-0.5) * x * x)
    return g * (below + x * density)


def _gelu_tanh(x: Any, _y: Any, g: Any, c: Any) -> Any:
    root, cubic = math.sqrt(2 / math.pi), 0.044715
    t = op.tanh(c(root) * (x + c(cubic) * x * x * x))
    slope = c(root) * (c(1) + c(3 * cubic) * x * x)
    return g * c(0.5) * (c(1) + t + x * (c(1) - t * t) * slope)


def _silu(x: Any, y: Any, g: Any, c: Any) -> Any:
    s = op.sigmoid(x)
    return g * (s + y * (c(1) - s))


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _selu(x: Any, y: Any, g: Any, c: Any) -> Any:
    return g * op.where(x > c(0), c(_SELU_SCALE), y + c(_SELU_ALPHA * _SELU_SCALE))


def _inside(x: Any, g: Any, c: Any, low: float, high: float) -> Any:
    within = op.logical_and(op.greater_equal(x, c(low)), op.less_equal(x, c(high)))
    return op.where(within, g, c(0))


def _clip(a: Adjoint) -> Sequence[Any]:
    x, low, high = a.args
    return [_inside(x, a.gradient, a.number, float(low.value), float(high.value)), None, None]


def _leaky_relu(a: Adjoint) -> Sequence[Any]:
    x, slope = a.args[0], a.number(float(a.attrs.alpha))
    return [op.where(x > a.number(0), a.gradient, a.gradient * slope)]


def _softplus(a: Adjoint) -> Sequence[Any]:
    # Above the threshold the operator is the identity; there the sigmoid is 1 but for rounding.
    return [a.gradient * op.sigmoid(a.number(float(a.attrs.beta)) * a.args[0])]


def _prelu(a: Adjoint) -> Sequence[Any]:
    x, slope = a.args
    axis = int(a.attrs.axis) % rank(x)
    shape = [extent if i == axis else 1 for i, extent in enumerate(dims(x))]
    along = op.reshape(slope, shape if dims(slope)[0] == shape[axis] else [1] * rank(x))
    along = a.emit(along)
    positive = a.emit(x > a.number(0))
    by_slope = op.where(positive, a.number(0), a.gradient * x)
    return [
        op.where(positive, a.gradient, a.gradient * along),
        op.reshape(a.fit(by_slope, along), dims(slope)),
    ]


def _astype(a: Adjoint) -> Sequence[Any]:
    return [op.astype(a.gradient, str(a.args[0].ty.dtype))]


ELEMENTWISE: dict[str, Rule] = {
    **{
        f"relax.{name}": _rule(gradient)
        for name, gradient in {
            "abs": lambda x, _y, g, _c: g * op.sign(x),
            "acos": lambda x, _y, g, c: -g / op.sqrt(c(1) - x * x),
            "acosh": lambda x, _y, g, c: g / op.sqrt(x * x - c(1)),
            "asin": lambda x, _y, g, c: g / op.sqrt(c(1) - x * x),
            "asinh": lambda x, _y, g, c: g / op.sqrt(x * x + c(1)),
            "atan": lambda x, _y, g, c: g / (x * x + c(1)),
            "atanh": lambda x, _y, g, c: g / (c(1) - x * x),
            "cos": lambda x, _y, g, _c: -g * op.sin(x),
            "cosh": lambda x, _y, g, _c: g * op.sinh(x),
            "erf": lambda x, _y, g, c: g * c(2 / math.sqrt(math.pi)) * op.exp(-(x * x)),
            "exp": lambda _x, y, g, _c: g * y,
            "log": lambda x, _y, g, _c: g / x,
            "negative": lambda _x, _y, g, _c: -g,
            "nn.gelu": _gelu,
            "nn.gelu_tanh": _gelu_tanh,
            # Read off the result: the input need not be kept for it.
            "nn.relu": lambda _x, y, g, c: op.where(y > c(0), g, c(0)),
            "nn.relu6": lambda x, _y, g, c: _inside(x, g, c, 0, 6),
            "nn.selu": _selu,
            "nn.silu": _silu,
            "rsqrt": lambda _x, y, g, c: c(-0.5) * g * y * y * y,
            "sigmoid": lambda _x, y, g, c: g * y * (c(1) - y),
            "sin": lambda x, _y, g, _c: g * op.cos(x),
            "sinh": lambda x, _y, g, _c: g * op.cosh(x),
            "sqrt": lambda _x, y, g, c: c(0.5) * g / y,
            "square": lambda x, _y, g, c: c(2) * g * x,
            "tan": lambda _x, y, g, c: g * (c(1) + y * y),
            "tanh": lambda _x, y, g, c: g * (c(1) - y * y),
        }.items()
    },
    # Constant but for jumps.
    **{f"relax.{n}": lambda _a: [None] for n in ("ceil", "floor", "round", "sign", "trunc")},
    "relax.astype": _astype,
    "relax.clip": _clip,
    "relax.nn.leakyrelu": _leaky_relu,
    "relax.nn.prelu": _prelu,
    "relax.nn.softplus": _softplus,
}
