"""Layout rules of operators that slide a window over space: NHWC, or as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax

from jointdnn_tvm.passes.layouts import NHWC, Layouts, Rule, Stored


def conv2d(call: Any, layouts: Layouts) -> Stored | None:
    """A convolution takes NHWC and a kernel of [height, width, in, out]."""
    attrs = call.attrs
    if attrs.data_layout != "NCHW" or attrs.kernel_layout != "OIHW":
        return None
    result = relax.op.nn.conv2d(
        layouts.load(call.args[0], NHWC),
        layouts.load(call.args[1], (2, 3, 1, 0)),
        strides=attrs.strides,
        padding=attrs.padding,
        dilation=attrs.dilation,
        groups=attrs.groups,
        data_layout="NHWC",
        kernel_layout="HWIO",
        out_dtype=attrs.out_dtype,
    )
    return Stored(layouts.emit(result), NHWC)


def pool2d(operator: Callable[..., Any]) -> Rule:
    """A pool follows its input when that is NHWC."""

    def rule(call: Any, layouts: Layouts) -> Stored | None:
        if layouts.stored(call.args[0]).axes != NHWC or call.attrs.layout != "NCHW":
            return None
        attrs = call.attrs
        result = operator(
            layouts.load(call.args[0], NHWC),
            pool_size=attrs.pool_size,
            strides=attrs.strides,
            padding=attrs.padding,
            dilation=attrs.dilation,
            ceil_mode=attrs.ceil_mode,
            count_include_pad=attrs.count_include_pad,
            layout="NHWC",
        )
        return Stored(layouts.emit(result), NHWC)

    return rule


def resize2d(call: Any, layouts: Layouts) -> Stored | None:
    """A resize follows its input when that is NHWC."""
    attrs = call.attrs
    if layouts.stored(call.args[0]).axes != NHWC or attrs.layout != "NCHW":
        return None
    result = relax.op.image.resize2d(
        layouts.load(call.args[0], NHWC),
        call.args[1],
        roi=list(attrs.roi),
        layout="NHWC",
        method=attrs.method,
        coordinate_transformation_mode=attrs.coordinate_transformation_mode,
        rounding_method=attrs.rounding_method,
        cubic_alpha=attrs.cubic_alpha,
        cubic_exclude=attrs.cubic_exclude,
        extrapolation_value=attrs.extrapolation_value,
        out_dtype=attrs.out_dtype,
    )
    return Stored(layouts.emit(result), NHWC)
