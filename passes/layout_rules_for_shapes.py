"""Layout rules of operators that only rearrange: most of them need not move anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jointdnn_tvm.passes.layouts import Layouts, Stored, dims, has_static_shape, rank


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
    return Stored(layouts.reshaped(stored, [after[axis] for axis in order]), tuple(order))


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
