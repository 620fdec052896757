"""How each operator lives with tensors that are stored in another order: see `convert_layout`.

A rule takes the call and the layouts, emits the call for the stored operands, and returns what
it emitted with the order of its dimensions; or None when every operand has to be in logical order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax

from jointdnn_tvm.passes.layout_rules_for_shapes import permute_dims, reshape
from jointdnn_tvm.passes.layout_rules_for_windows import conv2d, pool2d, resize2d
from jointdnn_tvm.passes.layouts import Layouts, Rule, Stored, rank


def elementwise(call: Any, layouts: Layouts) -> Stored | None:
    """Any operator that treats all positions alike, with broadcasting."""
    axes = layouts.preferred(call.args, rank(call))
    args = [layouts.broadcast(arg, axes) if rank(arg) >= 0 else arg for arg in call.args]
    return Stored(layouts.emit(relax.Call(call.op, args, call.attrs)), axes)


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


def normalization(call: Any, layouts: Layouts) -> Stored | None:
    """The normalised dimensions are renumbered; scale and shift keep their own order."""
    source, *parameters = call.args
    axes = layouts.stored(source).axes
    if axes is None:
        return None
    count = len(axes)
    options: dict[str, Any] = {"axes": [axes.index(int(axis) % count) for axis in call.attrs.axes]}
    if call.op.name == "relax.nn.group_norm":
        options["num_groups"] = int(call.attrs.num_groups)
        options["channel_axis"] = axes.index(int(call.attrs.channel_axis) % count)
    elif options["axes"] != sorted(options["axes"]):
        return None
    operator = getattr(relax.op.nn, call.op.name.removeprefix("relax.nn."))
    operands = [layouts.load(source, axes), *map(layouts.logical, parameters)]
    return Stored(layouts.emit(operator(*operands, **options, epsilon=call.attrs.epsilon)), axes)


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

_REDUCTIONS = ("max", "mean", "min", "prod", "std", "sum", "variance")

RULES: dict[str, Rule] = {
    **{f"relax.{name}": elementwise for name in _ELEMENTWISE},
    **{f"relax.{name}": reduction for name in _REDUCTIONS},
    **{f"relax.nn.{name}_norm": normalization for name in ("group", "layer", "rms")},
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
