"""Gradients of convolutions, as convolutions and products that the forward pass's kernels compute.

By the data: with strides, each phase of the input (every so-many-th row and column) is a
convolution of the gradient without strides, by every so-many-th tap, turned around. Nothing is
multiplied by a stuffed zero (Shi et al., "Is the deconvolution layer the same as a convolutional
layer?", arXiv 1609.07009).

By the weights: a convolution of the operand by the gradient, with channels in the place of images
and images in that of channels, and with strides and dilation changed over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import relax

from jointdnn_tvm.passes.gradients.adjoint import Adjoint, Rule
from jointdnn_tvm.passes.layouts import dims

op = relax.op


@dataclass(frozen=True)
class Axis:
    """One spatial dimension of a convolution."""

    size: int
    """Of the image."""
    taps: int
    stride: int
    dilation: int
    before: int
    """Padding in front of the image."""
    out: int
    """Of the result."""

    @property
    def phase_size(self) -> int:
        """Elements of each phase of the image, those beyond its end counted."""
        return -(-self.size // self.stride)

    def phase(self, phase: int) -> Phase | None:
        """How elements `phase`, `phase + stride`, ... get their gradient; None: they get none."""
        step = self.stride // math.gcd(self.stride, self.dilation)
        reached = (
            tap
            for tap in range(min(step, self.taps))
            if (phase + self.before - tap * self.dilation) % self.stride == 0
        )
        first = next(reached, None)
        if first is None:
            return None
        # Tap first + i * step of element j reads the gradient at place - i * dilation + j.
        place = (phase + self.before - first * self.dilation) // self.stride
        dilation = self.dilation * step // self.stride
        count = -(-(self.taps - first) // step)
        start = place - (count - 1) * dilation
        return Phase(first, step, count, dilation, start, place + self.phase_size - self.out)


@dataclass(frozen=True)
class Phase:
    """A convolution of the gradient without strides, by some of the taps, turned around."""

    first: int
    """The first tap, of `count`, each `step` behind the one before."""
    step: int
    count: int
    dilation: int
    start: int
    """Where the first window begins in the gradient; below 0 in its padding."""
    after: int
    """How far the last window reaches beyond the gradient, below 0 if it does not."""


def _conv2d(a: Adjoint) -> Sequence[Any]:
    x, w = a.args
    attrs = a.attrs
    kernel = dims(w)
    axes = [
        Axis(dims(x)[1 + i], kernel[i], stride, dilation, before, dims(a.result)[1 + i])
        for i, (stride, dilation, before) in enumerate(
            zip(
                (int(stride) for stride in attrs.strides),
                (int(dilation) for dilation in attrs.dilation),
                (int(width) for width in attrs.padding[:2]),
                strict=True,
            )
        )
    ]
    groups = int(attrs.groups)
    return [_by_data(a, w, axes, groups), _by_weights(a, x, w, axes, groups)]


def _by_data(a: Adjoint, w: Any, axes: Sequence[Axis], groups: int) -> Any:
    kh, kw, depth, columns = dims(w)
    # Channels in and out change places, within each group.
    split = op.reshape(w, [kh, kw, depth, groups, columns // groups])
    turned = op.reshape(
        op.permute_dims(split, [0, 1, 4, 3, 2]), [kh, kw, columns // groups, groups * depth]
    )
    rows, cols = axes
    bands = []
    for i in range(rows.stride):
        parts = [
            _phase(a, turned, rows.phase(i), cols.phase(j), axes, groups)
            for j in range(cols.stride)
        ]
        bands.append(_interleaved(a, parts, 2))
    whole = a.emit(_interleaved(a, bands, 1))
    if dims(whole)[1:3] == [rows.size, cols.size]:
        return whole
    return op.strided_slice(whole, [1, 2], [0, 0], [rows.size, cols.size])


def _phase(
    a: Adjoint,
    kernel: Any,
    row: Phase | None,
    col: Phase | None,
    axes: Sequence[Axis],
    groups: int,
) -> Any:
    shape = [dims(a.gradient)[0], *(axis.phase_size for axis in axes), dims(a.emit(kernel))[3]]
    if row is None or col is None:
        return op.zeros(shape, str(a.gradient.ty.dtype))
    phases = row, col
    ends = [phase.first + (phase.count - 1) * phase.step + 1 for phase in phases]
    taps = op.strided_slice(
        kernel, [0, 1], [p.first for p in phases], ends, [p.step for p in phases]
    )
    bordered = _bordered(a.gradient, [p.start for p in phases], [p.after for p in phases], a)
    if bordered is None:
        return op.zeros(shape, str(a.gradient.ty.dtype))
    gradient, padding = bordered
    return op.nn.conv2d(
        gradient,
        op.flip(op.flip(taps, 0), 1),
        padding=padding,
        dilation=[p.dilation for p in phases],
        groups=groups,
        data_layout="NHWC",
        kernel_layout="HWIO",
    )


def _bordered(
    image: Any, starts: Sequence[int], after: Sequence[int], a: Adjoint
) -> tuple[Any, list[int]] | None:
    """The part of an NHWC image from `starts` to `after` its end, and the padding it lacks.

    None: all of it would be padding.
    """
    begins = [max(0, start) for start in starts]
    ends = [extent + min(0, beyond) for extent, beyond in zip(dims(image)[1:3], after, strict=True)]
    if any(end <= begin for begin, end in zip(begins, ends, strict=True)):
        return None
    padding = [max(0, -start) for start in starts] + [max(0, beyond) for beyond in after]
    if begins != [0, 0] or ends != dims(image)[1:3]:
        image = a.emit(op.strided_slice(image, [1, 2], begins, ends))
    return image, padding


def _interleaved(a: Adjoint, parts: Sequence[Any], axis: int) -> Any:
    """Elements of each part in turn, along an axis."""
    if len(parts) == 1:
        return parts[0]
    parts = [a.emit(part) for part in parts]
    shape = dims(parts[0])
    side_by_side = op.concat([op.expand_dims(part, axis + 1) for part in parts], axis + 1)
    return op.reshape(side_by_side, [*shape[:axis], shape[axis] * len(parts), *shape[axis + 1 :]])


def _by_weights(a: Adjoint, x: Any, w: Any, axes: Sequence[Axis], groups: int) -> Any:
    kh, kw, depth, columns = dims(w)
    reaches = [(axis.taps - 1) * axis.dilation + (axis.out - 1) * axis.stride + 1 for axis in axes]
    after = [reach - axis.before - axis.size for reach, axis in zip(reaches, axes, strict=True)]
    bordered = _bordered(x, [-axis.before for axis in axes], after, a)
    if bordered is None:
        return op.zeros(dims(w), str(w.ty.dtype))
    image, padding = bordered
    strides = [axis.stride for axis in axes]
    if (kh, kw) == (1, 1) and groups == 1:
        return _by_single_weights(a, image, padding, strides, [depth, columns])
    if depth == 1:
        return _by_depthwise_weights(a, image, padding, axes, columns)
    n, height, width, _ = dims(image)
    split = op.reshape(image, [n, height, width, groups, depth])
    turned = op.reshape(op.permute_dims(split, [4, 1, 2, 3, 0]), [depth, height, width, groups * n])
    product = op.nn.conv2d(
        turned,
        op.permute_dims(a.gradient, [1, 2, 0, 3]),
        strides=[axis.dilation for axis in axes],
        padding=padding,
        dilation=strides,
        groups=groups,
        data_layout="NHWC",
        kernel_layout="HWIO",
    )
    return op.permute_dims(product, [1, 2, 0, 3])


def _by_single_weights(
    a: Adjoint, image: Any, padding: Sequence[int], strides: Sequence[int], shape: Sequence[int]
) -> Any:
    """Of single taps: one product over all pixels."""
    pixels = a.emit(_tap(a, _padded(image, padding), [0, 0], strides))
    rows = math.prod(dims(pixels)[:3])
    flat = a.emit(op.reshape(pixels, [rows, shape[0]]))
    product = op.matmul(op.permute_dims(flat), op.reshape(a.gradient, [rows, shape[1]]))
    return op.reshape(product, [1, 1, *shape])


def _by_depthwise_weights(
    a: Adjoint, image: Any, padding: Sequence[int], axes: Sequence[Axis], columns: int
) -> Any:
    """Of one channel a group: sums over all pixels, a tap at a time."""
    padded = a.emit(_padded(image, padding))
    channels = dims(padded)[3]
    shape = [*dims(a.gradient)[:3], channels, columns // channels]
    gradient = a.emit(op.reshape(a.gradient, shape))
    rows, cols = axes
    sums = []
    for i in range(rows.taps):
        for j in range(cols.taps):
            starts = [i * rows.dilation, j * cols.dilation]
            tap = op.reshape(_tap(a, padded, starts, [rows.stride, cols.stride]), [*shape[:4], 1])
            sums.append(op.sum(tap * gradient, [0, 1, 2]))
    whole = sums[0] if len(sums) == 1 else op.concat(sums, 0)
    return op.reshape(whole, [rows.taps, cols.taps, 1, columns])


def _padded(image: Any, padding: Sequence[int]) -> Any:
    top, left, bottom, right = padding
    if not any(padding):
        return image
    return op.nn.pad(image, [0, 0, top, bottom, left, right, 0, 0])


def _tap(a: Adjoint, image: Any, starts: Sequence[int], strides: Sequence[int]) -> Any:
    """The pixels that one tap reads, one for each of the result."""
    outs = dims(a.gradient)[1:3]
    ends = [s + (out - 1) * step + 1 for s, out, step in zip(starts, outs, strides, strict=True)]
    return op.strided_slice(image, [1, 2], starts, ends, strides)


CONVOLUTION: dict[str, Rule] = {"relax.nn.conv2d": _conv2d}


def refused_convolution(call: Any) -> str | None:
    """What of a convolution has no gradient here."""
    layouts = (call.attrs.data_layout, call.attrs.kernel_layout, call.attrs.out_layout)
    return None if layouts == ("NHWC", "HWIO", "NHWC") else "not stored as NHWC and HWIO"
