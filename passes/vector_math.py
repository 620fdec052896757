"""Write exp, sigmoid, tanh and erf of float32 with operations that vector units have.

LLVM calls the C library for them, one number at a time, and has to save every vector register
around each call. The forms here are as accurate as that to about one unit in the last place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from numpy.polynomial import Chebyshev, Polynomial
from tvm import ir, tirx

from jointdnn_tvm.passes.kernels import emit


@tvm.transform.module_pass(opt_level=0, name="VectorMath")
@dataclass
class VectorMath:
    """Replace the calls in all kernels whose blocks are lowered.

    Single numbers are computed in the same way as vectors, so that a value does not depend on the
    loop in which it is computed.
    """

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the module without calls of these functions, but for those under a condition."""
        functions = dict(module.functions.items())
        for var, function in functions.items():
            if isinstance(function, tirx.PrimFunc) and _has_calls(function):
                functions[var] = _in_single_stores(
                    tvm_ffi.structural_map(function, (tirx.For, _in_vectorised_loop))
                )
        return tvm.IRModule(functions, attrs=module.attrs)


def _in_vectorised_loop(loop: tirx.For) -> Any:
    """One vectorised store with calls as a sequence of vectorised steps."""
    if loop.kind != tirx.ForKind.VECTORIZED or not isinstance(loop.body, tirx.BufferStore):
        return loop
    return _expanded(loop.body, _Steps(int(loop.extent), loop.loop_var)) or loop


def _in_single_stores(function: tirx.PrimFunc) -> tirx.PrimFunc:
    lanes: list[Any] = []

    def note(loop: tirx.For) -> None:
        if loop.kind == tirx.ForKind.VECTORIZED:
            lanes.append(loop.loop_var)

    tvm_ffi.structural_walk(function, (tirx.For, note))

    def expand(store: tirx.BufferStore) -> Any:
        if any(var.same_as(lane) for var in tirx.analysis.undefined_vars(store) for lane in lanes):
            return store
        return _expanded(store, _Steps(1, emit.number(0))) or store

    return tvm_ffi.structural_map(function, (tirx.BufferStore, expand))


def _expanded(store: tirx.BufferStore, steps: _Steps) -> Any:
    """The store after the steps that its calls are made of; None when there are no calls."""
    kept = _under_conditions(store.value)

    def written_out(call: Any) -> Any:
        form = _FORMS.get(_name(call))
        if form is None or str(call.ty) != "float32" or any(call.same_as(k) for k in kept):
            return call
        return form(steps.let, call.args[0])

    value = tvm_ffi.structural_map(store.value, (ir.Call, written_out))
    if not steps.statements:
        return None
    last = steps.vectorised(tirx.BufferStore(store.buffer, value, store.indices))
    return emit.sequence([*steps.statements, last])


def _has_calls(function: tirx.PrimFunc) -> bool:
    """Whether it calls any of these functions: most do not, and rewriting takes long."""
    names: set[str] = set()
    tvm_ffi.structural_walk(function, (ir.Call, lambda call: names.add(_name(call))))
    return not names.isdisjoint(_FORMS)


def _name(call: Any) -> str:
    return str(getattr(call.op, "name", "")).rsplit(".", 1)[-1]


def _under_conditions(value: Any) -> list[Any]:
    """Calls whose arguments may only be read where a condition holds."""
    found: list[Any] = []

    def collect(call: Any) -> None:
        if _name(call) == "if_then_else":
            for branch in call.args[1:]:
                tvm_ffi.structural_walk(branch, (ir.Call, found.append))

    tvm_ffi.structural_walk(value, (ir.Call, collect))
    return found


class _Steps:
    """Intermediate values of one vectorised loop, each in a loop and a register of its own."""

    def __init__(self, lanes: int, lane: Any) -> None:
        self.statements: list[Any] = []
        self._lanes = lanes
        self._lane = lane

    def let(self, value: Any) -> Any:
        """Computes a value now; the answer stands for it."""
        buffer, allocation = emit.allocate("step", self._lanes)
        self.statements.append(allocation)
        self.statements.append(self.vectorised(tirx.BufferStore(buffer, value, [self._lane])))
        return tirx.BufferLoad(buffer, [self._lane])

    def vectorised(self, store: Any) -> Any:
        """The store in a loop over the lanes."""
        return emit.vector(
            self._lanes,
            lambda lane: tvm_ffi.structural_map(
                store, (ir.Var, lambda var: lane if var.same_as(self._lane) else var)
            ),
        )


Let = Callable[[Any], Any]


def _number(value: float) -> Any:
    return tirx.const(value, "float32")


# Beyond these exp is 0 or infinite. The logarithm of 2 is split so that the product of its first
# part with a whole number of up to 14 bits is exact (Cody and Waite).
_EXP_LOWEST, _EXP_HIGHEST = -104.0, 89.0
_LN2_HIGH = 0.693359375
_LN2_LOW = math.log(2) - _LN2_HIGH


def _exp(let: Let, x: Any) -> Any:
    """2 ** n times the exponential of what is left, which a polynomial gives."""
    x = let(x)
    x = let(tirx.Select(x < _number(_EXP_LOWEST), _number(_EXP_LOWEST), x))
    x = let(tirx.Select(x > _number(_EXP_HIGHEST), _number(_EXP_HIGHEST), x))
    n = let(tirx.nearbyint(x * _number(1 / math.log(2))))
    rest = let(x - n * _number(_LN2_HIGH) - n * _number(_LN2_LOW))
    value = let(_polynomial(_exp_coefficients(), rest))
    # In two steps, since the power alone may leave the range of floats.
    whole = tirx.Cast("int32", n)
    half = whole >> 1
    return let(let(value * _power_of_2(half)) * _power_of_2(whole - half))


def _power_of_2(exponent: Any) -> Any:
    bias, digits = tirx.const(127, "int32"), tirx.const(23, "int32")
    return tirx.reinterpret("float32", (exponent + bias) << digits)


def _sigmoid(let: Let, x: Any) -> Any:
    return let(_number(1) / (_number(1) + _exp(let, -x)))


_TANH_BOUND = 0.625  # below it the quotient would lose digits


def _tanh(let: Let, x: Any) -> Any:
    x = let(x)
    size = let(_size(x))
    square = let(size * size)
    near = let(size + size * square * _polynomial(_tanh_coefficients(), square))
    power = _exp(let, size * _number(-2))
    far = let((_number(1) - power) / (_number(1) + power))
    return _signed(let, x, tirx.Select(size < _number(_TANH_BOUND), near, far))


_ERF_BOUND, _ERF_ONE = 1.0, 4.1  # between them 1 - erf is an exponential times a polynomial


def _erf(let: Let, x: Any) -> Any:
    x = let(x)
    size = let(_size(x))
    near = let(size * _polynomial(_erf_coefficients(), let(size * size)))
    capped = let(tirx.Select(size > _number(_ERF_ONE), _number(_ERF_ONE), size))
    power = _exp(let, -capped * capped)
    inverse = let(_number(1) / (_number(1) + capped * _number(0.5)))
    far = let(_number(1) - power * _polynomial(_erfc_coefficients(), inverse))
    return _signed(let, x, tirx.Select(size < _number(_ERF_BOUND), near, far))


def _size(x: Any) -> Any:
    return tirx.Select(x < _number(0), -x, x)


def _signed(let: Let, x: Any, size: Any) -> Any:
    """The size with the sign of x."""
    size = let(size)
    return let(tirx.Select(x < _number(0), -size, size))


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    value = _number(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + _number(coefficient)
    return value


def _fit(function: Callable[[Any], Any], degree: int, low: float, high: float) -> tuple[float, ...]:
    """Interpolation in Chebyshev points, which is within a small factor of the best fit."""
    fit = Chebyshev.interpolate(np.vectorize(function), degree, domain=[low, high])
    return tuple(float(c) for c in fit.convert(kind=Polynomial).coef)


@cache
def _exp_coefficients() -> tuple[float, ...]:
    half = math.log(2) / 2
    return (1.0, 1.0, *_fit(math.exp, 6, -half, half)[2:])


@cache
def _tanh_coefficients() -> tuple[float, ...]:
    """Of (tanh(x) / x - 1) / x**2 in x**2."""

    def rest(square: float) -> float:
        x = math.sqrt(square)
        return (math.tanh(x) / x - 1) / square

    return _fit(rest, 5, 1e-9, _TANH_BOUND**2)


@cache
def _erf_coefficients() -> tuple[float, ...]:
    """Of erf(x) / x in x**2."""
    return _fit(lambda square: math.erf(square**0.5) / square**0.5, 7, 1e-9, _ERF_BOUND**2)


@cache
def _erfc_coefficients() -> tuple[float, ...]:
    """Of erfc(x) * exp(x**2) in 1 / (1 + x / 2)."""

    def scaled(t: float) -> float:
        x = 2 * (1 / t - 1)
        return math.erfc(x) * math.exp(x * x)

    return _fit(scaled, 7, 1 / (1 + _ERF_ONE / 2), 1 / (1 + _ERF_BOUND / 2))


_FORMS: dict[str, Callable[[Let, Any], Any]] = {
    "erf": _erf,
    "exp": _exp,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
}
