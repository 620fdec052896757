"""Gradients of gathers: added up where they were taken from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from jointdnn_tvm.passes.gradients.adjoint import Adjoint, Rule
from jointdnn_tvm.passes.layouts import dims, rank

op = relax.op


def _zeros(x: Any) -> Any:
    return op.zeros(dims(x), str(x.ty.dtype))


def _take(a: Adjoint) -> Sequence[Any]:
    x, indices = a.args
    if a.attrs.axis is None:
        flat = op.scatter_nd(
            op.zeros([_size(x)], str(x.ty.dtype)), _last(indices), a.gradient, "add"
        )
        return [op.reshape(flat, dims(x)), None]
    axis, count = int(a.attrs.axis) % rank(x), rank(indices)
    # The axis first: rows of the operand are then what each index takes.
    taken = [*range(axis, axis + count)]
    order = taken + [i for i in range(rank(a.result)) if i not in taken]
    rows = [axis, *(i for i in range(rank(x)) if i != axis)]
    shape = [dims(x)[i] for i in rows]
    gradient = a.gradient if order == sorted(order) else op.permute_dims(a.gradient, order)
    added = op.scatter_nd(op.zeros(shape, str(x.ty.dtype)), _last(indices), gradient, "add")
    back = [rows.index(i) for i in range(rank(x))]
    return [added if back == sorted(back) else op.permute_dims(added, back), None]


def _size(x: Any) -> int:
    size = 1
    for extent in dims(x):
        size *= extent
    return size


def _last(indices: Any) -> Any:
    """Indices of one dimension, as `scatter_nd` takes them."""
    return op.reshape(op.astype(indices, "int64"), [*dims(indices), 1])


def _gather_elements(a: Adjoint) -> Sequence[Any]:
    x, indices = a.args
    return [op.scatter_elements(_zeros(x), indices, a.gradient, int(a.attrs.axis), "add"), None]


def _gather_nd(a: Adjoint) -> Sequence[Any]:
    x, indices = a.args
    return [op.scatter_nd(_zeros(x), indices, a.gradient, "add"), None]


INDEXING: dict[str, Rule] = {
    "relax.gather_elements": _gather_elements,
    "relax.gather_nd": _gather_nd,
    "relax.take": _take,
}


def refused_gather(call: Any) -> str | None:
    """What of a gather has no gradient here."""
    return "by batch" if int(call.attrs.batch_dims) else None
