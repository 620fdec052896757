"""The gradient of a resize, which is linear along each axis: by the transposed matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax

from jointdnn_tvm.passes.gradients.adjoint import Adjoint, Rule
from jointdnn_tvm.passes.layouts import dims

op = relax.op
Array = np.ndarray[Any, Any]

_COORDINATES: dict[str, Callable[[Array, int, int], Array]] = {
    "align_corners": lambda i, size, out: i * ((size - 1) / max(out - 1, 1)),
    "asymmetric": lambda i, size, out: i * (size / out),
    "half_pixel": lambda i, size, out: (i + 0.5) * (size / out) - 0.5,
    "pytorch_half_pixel": lambda i, size, out: (
        (i + 0.5) * (size / out) - 0.5 if out > 1 else 0.0 * i
    ),
}
_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "ceil": lambda x: np.ceil(x - 1e-5),
    "floor": lambda x: np.floor(x + 1e-5),
    "round": np.round,
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
}


def _resize2d(a: Adjoint) -> Sequence[Any]:
    attrs = a.attrs
    layout = str(attrs.layout)
    gradient = a.gradient
    for axis in (layout.index("H"), layout.index("W")):
        size, out = dims(a.args[0])[axis], dims(a.result)[axis]
        gradient = a.emit(_along(a, gradient, axis, _matrix(attrs, size, out)))
    return [gradient, None]


def _along(a: Adjoint, gradient: Any, axis: int, matrix: Array) -> Any:
    """The gradient times a matrix of [size, out], along an axis."""
    size, out = matrix.shape
    shape = dims(gradient)
    before, after = shape[:axis], shape[axis + 1 :]
    times = out // size
    if out % size == 0 and (matrix == np.eye(size).repeat(times, axis=1)).all():
        repeats = op.reshape(gradient, [*before, size, times, *after])
        return op.sum(repeats, [axis + 1])
    rows = a.emit(op.reshape(gradient, [*before, out, int(np.prod(after))]))
    factor = relax.const(matrix, str(gradient.ty.dtype))
    return op.reshape(op.matmul(factor, rows), [*before, size, *after])


def _matrix(attrs: Any, size: int, out: int) -> Array:
    """[size, out]: how much of each pixel is in each result."""
    mode = str(attrs.coordinate_transformation_mode)
    places = _COORDINATES[mode](np.arange(out), size, out)
    matrix = np.zeros((size, out))
    if attrs.method == "nearest_neighbor":
        rounding = str(attrs.rounding_method) or ("round" if mode == "align_corners" else "floor")
        nearest = _ROUNDINGS[rounding](places).astype(int)
        matrix[nearest.clip(0, size - 1), np.arange(out)] = 1
        return matrix
    left = np.floor(places)
    share = places - left
    for neighbour, part in ((left, 1 - share), (left + 1, share)):
        np.add.at(matrix, (neighbour.astype(int).clip(0, size - 1), np.arange(out)), part)
    return matrix


RESIZING: dict[str, Rule] = {"relax.image.resize2d": _resize2d}


def refused_resize(call: Any) -> str | None:
    """What of a resize has no gradient here."""
    method, mode = str(call.attrs.method), str(call.attrs.coordinate_transformation_mode)
    if method not in ("linear", "nearest_neighbor"):
        return method
    if str(call.attrs.layout) not in ("NCHW", "NHWC"):
        return f"stored as {call.attrs.layout}"
    return None if mode in _COORDINATES else mode
