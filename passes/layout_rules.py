"""How each operator lives with tensors that are stored in another order: see `convert_layout`.

A rule takes the call and the layouts, emits the call for the stored operands, and returns what
it emitted with the order of its dimensions; or None when every operand has to be in logical order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import relax

from jointdnn_tvm.passes.convert_layout import (
    NHWC,
    Layouts,
    Stored,
    dims,
    has_static_shape,
    rank,
)

Rule = Callable[[Any, Layouts], "Stored | None"]


def elementwise(call: Any, layouts: Layouts) -> Stored | None:
    """Any operator that treats all positions alike, with broadcasting."""
    axes = layouts.preferred(call.args, rank(call))
    args = [layouts.broadcast(arg, axes) if rank(arg) >= 0 else arg for arg in call.args]
    return Stored(layouts.emit(relax.Call(call.op, args, call.attrs)), axes)


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


def permute_dims(call: Any, layouts: Layouts) -> Stored | None:
    """Moves nothing: the stored tensor is the same under another order."""
    stored = layouts.stored(call.args[0])
    if stored.axes is None:
        return None
    axes = call.attrs.axes
    order = list(reversed(range(rank(call)))) if axes is None else [int(a) for a in axes]
    order = [axis % len(order) for axis in order]
    return Stored(stored.value, tuple(order.index(axis) for axis in stored.axes))


def reshape(call: Any, layouts: Layouts) -> Stored | None:
    """Dimensions that are merged have to be stored side by side; the others may be anywhere."""
    source = call.args[0]
    if not (has_static_shape(source) and has_static_shape(call)):
        return None
    before, after = dims(source), dims(call)
    axes = layouts.stored(source).axes
    groups = reshape_groups(before, after)
    if groups is None or axes is None:
        return None
    # Ordered by where their last dimension is stored: what is innermost stays innermost.
    groups.sort(key=lambda group: max(axes.index(axis) for axis in group[0]))
    wanted = [axis for group in groups for axis in group[0]]
    units = [axis for axis in axes if axis not in wanted]
    stored = layouts.load(source, _near(axes, units + wanted, before))
    order = _insert_units([axis for group in groups for axis in group[1]], after)
    shape = [after[axis] for axis in order]
    if shape == dims(stored):
        return Stored(stored, tuple(order))
    return Stored(layouts.emit(relax.op.reshape(stored, shape)), tuple(order))


def _near(axes: tuple[int, ...], wanted: list[int], shape: list[int]) -> tuple[int, ...]:
    """The order that the tensor already has, when only dimensions of one element differ."""

    def solid(order: Sequence[int]) -> list[int]:
        return [axis for axis in order if shape[axis] != 1]

    return axes if solid(axes) == solid(wanted) else tuple(wanted)


def reshape_groups(
    before: Sequence[int], after: Sequence[int]
) -> list[tuple[list[int], list[int]]] | None:
    """Which dimensions of a shape become which of another, dimensions of one element left out."""
    left = [i for i, dim in enumerate(before) if dim != 1]
    right = [i for i, dim in enumerate(after) if dim != 1]
    if 0 in before or 0 in after:
        return None
    groups = []
    while left and right:
        sources, targets = [left.pop(0)], [right.pop(0)]
        source, target = before[sources[0]], after[targets[0]]
        while source != target:
            if source < target and left:
                sources.append(left.pop(0))
                source *= before[sources[-1]]
            elif target < source and right:
                targets.append(right.pop(0))
                target *= after[targets[-1]]
            else:
                return None
        groups.append((sources, targets))
    return None if left or right else groups


def _insert_units(order: list[int], shape: list[int]) -> list[int]:
    """Puts each dimension of one element right behind the one before it in logical order."""
    for axis, dim in enumerate(shape):
        if dim == 1:
            order.insert(order.index(axis - 1) + 1 if axis else 0, axis)
    return order


def reduction(call: Any, layouts: Layouts) -> Stored | None:
    """Sums and the like reduce the stored dimensions."""
    source = call.args[0]
    axes = layouts.stored(source).axes
    if axes is None:
        return None
    count = len(axes)
    reduced = range(count) if call.attrs.axis is None else [int(a) % count for a in call.attrs.axis]
    stored_axes = sorted(axes.index(axis) for axis in reduced)
    operator = getattr(relax.op, call.op.name.removeprefix("relax."))
    result = operator(
        layouts.load(source, axes), axis=stored_axes, keepdims=bool(call.attrs.keepdims)
    )
    kept = list(axes) if call.attrs.keepdims else [axis for axis in axes if axis not in reduced]
    order = tuple(sorted(kept).index(axis) for axis in kept)
    return Stored(layouts.emit(result), order)


def softmax(operator: Callable[..., Any]) -> Rule:
    """A softmax runs along the stored dimension."""

    def rule(call: Any, layouts: Layouts) -> Stored | None:
        axes = layouts.stored(call.args[0]).axes
        if axes is None:
            return None
        axis = axes.index(int(call.attrs.axis) % len(axes))
        return Stored(layouts.emit(operator(layouts.load(call.args[0], axes), axis)), axes)

    return rule


def prelu(call: Any, layouts: Layouts) -> Stored | None:
    """The slopes go along the stored dimension."""
    axes = layouts.stored(call.args[0]).axes
    if axes is None:
        return None
    axis = axes.index(int(call.attrs.axis) % len(axes))
    slope = layouts.logical(call.args[1])
    return Stored(
        layouts.emit(relax.op.nn.prelu(layouts.load(call.args[0], axes), slope, axis)), axes
    )


def concat(call: Any, layouts: Layouts) -> Stored | None:
    """All parts are stored like the largest one."""
    parts = layouts.fields(call.args[0])
    if not parts or call.attrs.axis is None:
        return None
    axes = layouts.preferred(parts, rank(call))
    loaded = [layouts.load(part, axes) for part in parts]
    axis = axes.index(int(call.attrs.axis) % len(axes))
    return Stored(layouts.emit(relax.op.concat(loaded, axis)), axes)


def split(call: Any, layouts: Layouts) -> Stored | None:
    """The parts are stored like the whole."""
    axes = layouts.stored(call.args[0]).axes
    if axes is None:
        return None
    sections = call.attrs.indices_or_sections
    where = [int(i) for i in sections] if hasattr(sections, "__len__") else int(sections)
    axis = axes.index(int(call.attrs.axis) % len(axes))
    return Stored(layouts.emit(relax.op.split(layouts.load(call.args[0], axes), where, axis)), axes)


def pad(call: Any, layouts: Layouts) -> Stored | None:
    """The widths are put in the stored order."""
    axes = layouts.stored(call.args[0]).axes
    if axes is None:
        return None
    widths = [int(width) for width in call.attrs.pad_width]
    moved = [width for axis in axes for width in widths[2 * axis : 2 * axis + 2]]
    result = relax.op.nn.pad(
        layouts.load(call.args[0], axes), moved, call.attrs.pad_mode, call.attrs.pad_value
    )
    return Stored(layouts.emit(result), axes)


def strided_slice(call: Any, layouts: Layouts) -> Stored | None:
    """The sliced axes are renumbered."""
    axes = layouts.stored(call.args[0]).axes
    if axes is None:
        return None
    count = len(axes)
    sliced, *bounds = ([int(v.value) for v in arg] for arg in call.args[1:])
    result = relax.op.strided_slice(
        layouts.load(call.args[0], axes),
        [axes.index(axis % count) for axis in sliced],
        *bounds,
        assume_inbound=call.attrs.assume_inbound,
    )
    return Stored(layouts.emit(result), axes)


def take(call: Any, layouts: Layouts) -> Stored | None:
    """The axis is renumbered; a list of indices takes its place, a single index drops it."""
    source, indices = call.args
    axes = layouts.stored(source).axes
    if axes is None or call.attrs.axis is None or rank(indices) not in (0, 1):
        return None
    axis = int(call.attrs.axis) % len(axes)
    result = relax.op.take(
        layouts.load(source, axes), layouts.logical(indices), axes.index(axis), call.attrs.mode
    )
    kept = list(axes) if rank(indices) else [other for other in axes if other != axis]
    return Stored(layouts.emit(result), tuple(sorted(kept).index(other) for other in kept))


_ELEMENTWISE = (
    *[
        "abs",
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atanh",
        "bitwise_not",
        "ceil",
        "clip",
        "cos",
        "cosh",
        "erf",
        "exp",
        "floor",
    ],
    *[
        "isfinite",
        "isinf",
        "isnan",
        "log",
        "logical_not",
        "negative",
        "round",
        "rsqrt",
        "sigmoid",
        "sign",
        "sin",
        "sinh",
    ],
    *["sqrt", "square", "tan", "tanh", "trunc", "astype", "where", "ewise_fma"],
    *[
        "add",
        "divide",
        "equal",
        "floor_divide",
        "floor_mod",
        "greater",
        "greater_equal",
        "less",
        "less_equal",
    ],
    *[
        "log_add_exp",
        "maximum",
        "minimum",
        "mod",
        "multiply",
        "not_equal",
        "power",
        "subtract",
        "atan2",
    ],
    *["logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor"],
    *["left_shift", "right_shift"],
    *[
        "nn.relu",
        "nn.relu6",
        "nn.leakyrelu",
        "nn.gelu",
        "nn.gelu_tanh",
        "nn.selu",
        "nn.silu",
        "nn.softplus",
    ],
)

RULES: dict[str, Rule] = {
    **{f"relax.{name}": elementwise for name in _ELEMENTWISE},
    **{f"relax.{name}": reduction for name in ("max", "mean", "min", "prod", "sum")},
    "relax.concat": concat,
    "relax.expand_dims": reshape,
    "relax.flatten": reshape,
    "relax.image.resize2d": resize2d,
    "relax.nn.avg_pool2d": pool2d(relax.op.nn.avg_pool2d),
    "relax.nn.batch_flatten": reshape,
    "relax.nn.conv2d": conv2d,
    "relax.nn.log_softmax": softmax(relax.op.nn.log_softmax),
    "relax.nn.max_pool2d": pool2d(relax.op.nn.max_pool2d),
    "relax.nn.pad": pad,
    "relax.nn.prelu": prelu,
    "relax.nn.softmax": softmax(relax.op.nn.softmax),
    "relax.permute_dims": permute_dims,
    "relax.reshape": reshape,
    "relax.split": split,
    "relax.squeeze": reshape,
    "relax.strided_slice": strided_slice,
    "relax.take": take,
}
