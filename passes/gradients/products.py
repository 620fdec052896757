"""The gradient of a matrix product: two matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import relax

from jointdnn_tvm.passes.gradients.adjoint import Adjoint, Rule
from jointdnn_tvm.passes.layouts import dims, rank

op = relax.op


def _matmul(a: Adjoint) -> Sequence[Any]:
    x, w = a.args
    # A vector is a matrix of one row, or of one column.
    left, right, g = x, w, a.gradient
    if rank(x) == 1:
        left = a.emit(op.reshape(x, [1, *dims(x)]))
        g = op.expand_dims(g, -1 if rank(w) == 1 else -2)
    if rank(w) == 1:
        right = a.emit(op.reshape(w, [*dims(w), 1]))
        g = op.expand_dims(g, -1)
    g = a.emit(g)
    by_left = a.fit(op.matmul(g, _turned(right, a)), left)
    if rank(right) == 2 and rank(left) > 2:  # one product over all rows, in place of a sum
        rows = math.prod(dims(left)[:-1])
        flat = a.emit(op.reshape(left, [rows, dims(left)[-1]]))
        by_right = op.matmul(_turned(flat, a), op.reshape(g, [rows, dims(g)[-1]]))
    else:
        by_right = a.fit(op.matmul(_turned(left, a), g), right)
    return [op.reshape(by_left, dims(x)), op.reshape(by_right, dims(w))]


def _turned(matrix: Any, a: Adjoint) -> Any:
    count = rank(matrix)
    return a.emit(op.permute_dims(matrix, [*range(count - 2), count - 1, count - 2]))


PRODUCTS: dict[str, Rule] = {"relax.matmul": _matmul}
