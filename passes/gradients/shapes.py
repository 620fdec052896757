"""Gradients of operators that only move elements: they are moved back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from jointdnn_tvm.passes.gradients.adjoint import Adjoint, Rule
from jointdnn_tvm.passes.layouts import dims, rank

op = relax.op


def _reshaped(a: Adjoint) -> Sequence[Any]:
    others = [None] * (len(a.args) - 1)  # the new shape
    return [op.reshape(a.gradient, dims(a.args[0])), *others]


def _permute_dims(a: Adjoint) -> Sequence[Any]:
    axes = a.attrs.axes
    count = rank(a.result)
    order = [*range(count)][::-1] if axes is None else [int(axis) % count for axis in axes]
    return [op.permute_dims(a.gradient, [order.index(axis) for axis in range(count)])]


def _broadcast_to(a: Adjoint) -> Sequence[Any]:
    return [a.fit(a.gradient, a.args[0]), None]


def _concat(a: Adjoint) -> Sequence[Any]:
    axis = int(a.attrs.axis) % rank(a.result)
    parts, start = [], 0
    for field in a.args[0].ty.fields:
        end = start + int(field.shape[axis])
        parts.append(op.strided_slice(a.gradient, [axis], [start], [end]))
        start = end
    return [parts]


def _stack(a: Adjoint) -> Sequence[Any]:
    axis = int(a.attrs.axis) % rank(a.result)
    shape = [int(extent) for extent in a.args[0].ty.fields[0].shape]
    return [
        [
            op.reshape(op.strided_slice(a.gradient, [axis], [i], [i + 1]), shape)
            for i in range(len(a.args[0].ty.fields))
        ]
    ]


def _split(a: Adjoint) -> Sequence[Any]:
    kinds = a.result.ty.fields
    parts = [
        op.zeros(kind.shape, str(kind.dtype)) if gradient is None else gradient
        for kind, gradient in zip(kinds, a.gradient, strict=True)
    ]
    return [op.concat(parts, int(a.attrs.axis) % rank(a.args[0]))]


def _flip(a: Adjoint) -> Sequence[Any]:
    return [op.flip(a.gradient, int(a.attrs.axis))]


def _tile(a: Adjoint) -> Sequence[Any]:
    repeats = [int(count) for count in a.attrs.repeats]
    shape = dims(a.args[0])
    shape = [1] * (len(repeats) - len(shape)) + shape
    repeats = [1] * (len(shape) - len(repeats)) + repeats
    pairs = [extent for pair in zip(repeats, shape, strict=True) for extent in pair]
    summed = op.sum(op.reshape(a.gradient, pairs), [*range(0, len(pairs), 2)])
    return [op.reshape(summed, dims(a.args[0]))]


def _pad(a: Adjoint) -> Sequence[Any]:
    """The inner part, and what went into the border where that repeats elements."""
    shape, mode = dims(a.args[0]), str(a.attrs.pad_mode)
    widths = [int(width) for width in a.attrs.pad_width]
    gradient = a.gradient
    for axis, extent in enumerate(shape):
        before, after = widths[2 * axis : 2 * axis + 2]
        if not before and not after:
            continue
        inner = _part(gradient, axis, before, before + extent)
        if mode != "constant":
            first = _part(gradient, axis, 0, before)
            last = _part(gradient, axis, before + extent, before + extent + after)
            for border, place, width in (
                (first, _source(mode, True, before, extent), before),
                (last, _source(mode, False, after, extent), after),
            ):
                if width:
                    inner = inner + _put(_folded(border, mode, axis), axis, place, extent, a)
        gradient = a.emit(inner)
    return [gradient]


def _part(value: Any, axis: int, start: int, end: int) -> Any:
    return op.strided_slice(value, [axis], [start], [end])


def _source(mode: str, before: bool, width: int, extent: int) -> int:
    """Where the elements of a border begin that were copied into it."""
    match mode:
        case "replicate":
            return 0 if before else extent - 1
        case "reflect":
            return 1 if before else extent - 1 - width
        case _:  # circular
            return extent - width if before else 0


def _folded(border: Any, mode: str, axis: int) -> Any:
    match mode:
        case "replicate":
            return op.sum(border, [axis], keepdims=True)
        case "reflect":
            return op.flip(border, axis)
        case _:
            return border


def _put(value: Any, axis: int, start: int, extent: int, a: Adjoint) -> Any:
    """The value in zeros, of this extent along the axis."""
    value = a.emit(value)
    widths = [0] * (2 * rank(value))
    widths[2 * axis : 2 * axis + 2] = start, extent - start - dims(value)[axis]
    return op.nn.pad(value, widths)


def _strided_slice(a: Adjoint) -> Sequence[Any]:
    x, *lists = a.args
    axes, begins, _, *steps = ([int(v.value) for v in values] for values in lists)
    gradient = a.gradient
    for axis, begin, step in zip(axes, begins, steps[0] if steps else [1] * len(axes), strict=True):
        extent = dims(x)[axis]
        begin = min(begin % extent if begin < 0 else begin, extent)
        holed = a.emit(spread(a.emit(gradient), axis, step))
        beyond = begin + dims(holed)[axis] - extent  # zeros behind the last element
        if beyond > 0:
            holed = a.emit(_part(holed, axis, 0, extent - begin))
        gradient = _put(holed, axis, begin, extent, a)
    return [gradient, *[None] * len(lists)]


def spread(value: Any, axis: int, step: int) -> Any:
    """Puts zeros after each element along an axis, so that it has `step` places."""
    if step == 1:
        return value
    shape = dims(value)
    widths = [0] * (2 * len(shape) + 2)
    widths[2 * axis + 3] = step - 1
    holes = op.nn.pad(op.expand_dims(value, axis + 1), widths)
    return op.reshape(holes, [*shape[:axis], shape[axis] * step, *shape[axis + 1 :]])


SHAPES: dict[str, Rule] = {
    "relax.broadcast_to": _broadcast_to,
    "relax.concat": _concat,
    "relax.expand_dims": _reshaped,
    "relax.flatten": _reshaped,
    "relax.flip": _flip,
    "relax.nn.batch_flatten": _reshaped,
    "relax.nn.pad": _pad,
    "relax.permute_dims": _permute_dims,
    "relax.reshape": _reshaped,
    "relax.split": _split,
    "relax.squeeze": _reshaped,
    "relax.stack": _stack,
    "relax.strided_slice": _strided_slice,
    "relax.tile": _tile,
}
