"""Gradients of softmax and of normalisations by mean and variance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from jointdnn_tvm.passes.gradients.adjoint import Adjoint, Rule
from jointdnn_tvm.passes.layouts import dims, rank

op = relax.op


def _softmax(a: Adjoint) -> Sequence[Any]:
    mean = op.sum(a.gradient * a.result, a.axes(), keepdims=True)
    return [(a.gradient - mean) * a.result]


def _log_softmax(a: Adjoint) -> Sequence[Any]:
    total = op.sum(a.gradient, a.axes(), keepdims=True)
    return [a.gradient - total * op.exp(a.result)]


def _layer_norm(a: Adjoint) -> Sequence[Any]:
    x, gamma, _ = a.args
    axes = [int(axis) % rank(x) for axis in a.attrs.axes]
    shape = [extent if axis in axes else 1 for axis, extent in enumerate(dims(x))]
    normal, inverse = _normal(a, x, axes)
    g = a.gradient
    by_normal = a.emit(g * op.reshape(gamma, shape) if bool(a.attrs.scale) else g)
    by_x = _by_normalised(by_normal, normal, inverse, axes)
    others = [axis for axis in range(rank(x)) if axis not in axes]
    by_gamma = op.sum(g * normal, others) if bool(a.attrs.scale) else None
    return [by_x, by_gamma, op.sum(g, others) if bool(a.attrs.center) else None]


def _rms_norm(a: Adjoint) -> Sequence[Any]:
    x, gamma = a.args
    axes = [int(axis) % rank(x) for axis in a.attrs.axes]
    shape = [extent if axis in axes else 1 for axis, extent in enumerate(dims(x))]
    power = op.mean(x * x, axes, keepdims=True)
    inverse = a.emit(op.rsqrt(power + a.number(float(a.attrs.epsilon))))
    normal = a.emit(x * inverse)
    by_normal = a.emit(a.gradient * op.reshape(gamma, shape))
    by_x = (by_normal - normal * op.mean(by_normal * normal, axes, keepdims=True)) * inverse
    others = [axis for axis in range(rank(x)) if axis not in axes]
    return [by_x, op.reshape(op.sum(a.gradient * normal, others), dims(gamma))]


def _group_norm(a: Adjoint) -> Sequence[Any]:
    x, gamma, _ = a.args
    shape, groups = dims(x), int(a.attrs.num_groups)
    channel = int(a.attrs.channel_axis) % rank(x)
    inner = shape[channel] // groups
    split = [*shape[:channel], groups, inner, *shape[channel + 1 :]]
    # The channels of a group are one more dimension; those behind it move up by one.
    normalised = [int(axis) % rank(x) for axis in a.attrs.axes]
    axes = [channel + 1, *(axis + (axis > channel) for axis in normalised if axis != channel)]
    scale = [
        groups if i == channel else inner if i == channel + 1 else 1 for i in range(len(split))
    ]
    x, g = a.emit(op.reshape(x, split)), a.emit(op.reshape(a.gradient, split))
    normal, inverse = _normal(a, x, axes)
    by_normal = a.emit(g * op.reshape(gamma, scale))
    by_x = op.reshape(_by_normalised(by_normal, normal, inverse, axes), shape)
    others = [axis for axis in range(len(split)) if axis not in (channel, channel + 1)]
    count = [shape[channel]]
    return [
        by_x,
        op.reshape(op.sum(g * normal, others), count),
        op.reshape(op.sum(g, others), count),
    ]


def _normal(a: Adjoint, x: Any, axes: Sequence[int]) -> tuple[Any, Any]:
    """The operand less its mean, over its deviation; and one over its deviation."""
    around = a.emit(x - op.mean(x, axes, keepdims=True))
    variance = op.mean(around * around, axes, keepdims=True)
    inverse = a.emit(op.rsqrt(variance + a.number(float(a.attrs.epsilon))))
    return a.emit(around * inverse), inverse


def _by_normalised(g: Any, normal: Any, inverse: Any, axes: Sequence[int]) -> Any:
    along = op.mean(g * normal, axes, keepdims=True)
    return (g - op.mean(g, axes, keepdims=True) - normal * along) * inverse


NORMALIZATIONS: dict[str, Rule] = {
    "relax.nn.group_norm": _group_norm,
    "relax.nn.layer_norm": _layer_norm,
    "relax.nn.log_softmax": _log_softmax,
    "relax.nn.rms_norm": _rms_norm,
    "relax.nn.softmax": _softmax,
}
