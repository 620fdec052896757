"""Gradients of pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from jointdnn_tvm.passes.gradients.adjoint import Adjoint, Rule
from jointdnn_tvm.passes.gradients.shapes import spread
from jointdnn_tvm.passes.layouts import dims, rank

op = relax.op


def _max_pool2d(a: Adjoint) -> Sequence[Any]:
    attrs = a.attrs
    return [
        op.grad.max_pool2d_backward(
            a.gradient,
            a.args[0],
            pool_size=[int(size) for size in attrs.pool_size],
            strides=[int(stride) for stride in attrs.strides],
            padding=[int(width) for width in attrs.padding],
            ceil_mode=bool(attrs.ceil_mode),
            layout=str(attrs.layout),
            out_layout=str(attrs.out_layout),
        )
    ]


def max_pool2d_backward(builder: relax.BlockBuilder, call: Any) -> Any:
    """How the operator is computed: the first of the largest pixels gets the gradient.

    TVM's own reads gradients beyond the last window.
    """
    attrs = call.attrs
    sizes, strides, before = (
        [int(value) for value in values]
        for values in (attrs.pool_size, attrs.strides, attrs.padding[:2])
    )
    rows, cols = (str(attrs.layout).index(axis) for axis in "HW")

    def compute(gradient: te.Tensor, x: te.Tensor) -> te.Tensor:
        height, width = (int(x.shape[axis]) for axis in (rows, cols))
        ky, kx = te.reduce_axis((0, sizes[0]), "ky"), te.reduce_axis((0, sizes[1]), "kx")

        def candidate(*place: Any) -> tuple[Any, Any]:
            y = place[rows] * strides[0] + ky - before[0]
            z = place[cols] * strides[1] + kx - before[1]
            inside = tirx.all(y >= 0, y < height, z >= 0, z < width)
            value = tirx.if_then_else(inside, x[_at(place, y, z)], tirx.min_value(x.dtype))
            return tirx.Cast("int32", ky * sizes[1] + kx), value

        chosen, _ = te.compute(
            gradient.shape,
            lambda *place: _FIRST_LARGEST(candidate(*place), axis=[ky, kx]),
            "chosen",
        )
        reach = [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
        wy, wx = te.reduce_axis((0, reach[0]), "wy"), te.reduce_axis((0, reach[1]), "wx")

        def gathered(*place: Any) -> Any:
            row, col = place[rows] + before[0], place[cols] + before[1]
            y, z = row // strides[0] - wy, col // strides[1] - wx
            tap_y, tap_z = row - y * strides[0], col - z * strides[1]
            inside = tirx.all(
                y >= 0,
                y < gradient.shape[rows],
                tap_y < sizes[0],
                z >= 0,
                z < gradient.shape[cols],
                tap_z < sizes[1],
            )
            window = _at(place, y, z)
            hit = tirx.EQ(chosen[window], tirx.Cast("int32", tap_y * sizes[1] + tap_z))
            zero = tirx.const(0, gradient.dtype)
            value = tirx.if_then_else(inside, tirx.Select(hit, gradient[window], zero), zero)
            return te.sum(value, axis=[wy, wx])

        return te.compute(x.shape, gathered, "max_pool2d_backward")

    def _at(place: Sequence[Any], y: Any, z: Any) -> tuple[Any, ...]:
        return tuple(y if i == rows else z if i == cols else p for i, p in enumerate(place))

    return builder.call_te(compute, *call.args, primfunc_name_hint="max_pool2d_backward")


def _larger(left: Sequence[Any], right: Sequence[Any]) -> tuple[Any, Any]:
    keep = tirx.any(left[1] > right[1], tirx.all(tirx.EQ(left[1], right[1]), left[0] < right[0]))
    return tirx.Select(keep, left[0], right[0]), tirx.Select(keep, left[1], right[1])


_FIRST_LARGEST = te.comm_reducer(
    _larger,
    lambda place, value: (tirx.max_value(place), tirx.min_value(value)),
    name="first_largest",
)


def _avg_pool2d(a: Adjoint) -> Sequence[Any]:
    """A mean over the windows around each pixel, with what each passes on at its first pixel."""
    x, attrs = a.args[0], a.attrs
    layout = str(attrs.layout)
    sizes, strides, padding = (
        [int(value) for value in values]
        for values in (attrs.pool_size, attrs.strides, attrs.padding)
    )
    gradient, after = a.gradient, []
    for axis, size, stride, before, behind in zip(
        (layout.index(axis) for axis in "HW"), sizes, strides, padding[:2], padding[2:], strict=True
    ):
        extent, outs = dims(x)[axis], dims(a.result)[axis]
        starts = np.arange(outs) * stride - before
        counted = (-before, extent + behind) if bool(attrs.count_include_pad) else (0, extent)
        inside = np.minimum(starts + size, counted[1]) - np.maximum(starts, counted[0])
        if (inside < size).any():  # fewer pixels make up a mean, and so each of them counts more
            shape = [outs if i == axis else 1 for i in range(rank(a.result))]
            shares = (size / np.maximum(inside, 1)).reshape(shape)
            gradient = gradient * relax.const(shares, str(x.ty.dtype))
        gradient = spread(a.emit(gradient), axis, stride)
        # As far as there is a pixel that a window begins at.
        reach = min((outs - 1) * stride + 1, extent + before)
        gradient = op.strided_slice(gradient, [axis], [0], [reach])
        after.append(extent + before - reach)
    around = [size - 1 - width for size, width in zip(sizes, padding[:2], strict=True)] + after
    return [
        op.nn.avg_pool2d(gradient, sizes, padding=around, count_include_pad=True, layout=layout)
    ]


POOLING: dict[str, Rule] = {
    "relax.nn.avg_pool2d": _avg_pool2d,
    "relax.nn.max_pool2d": _max_pool2d,
}


def refused_pool(call: Any) -> str | None:
    """What of a pool has no gradient here."""
    dilated = any(int(dilation) != 1 for dilation in call.attrs.dilation)
    return "dilated" if dilated else None
