"""Winograd's transforms: their matrices, and statements that apply them to vectors of channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from jointdnn_tvm.passes.kernels import emit

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Transforms:
    """The matrices of F(m, 3): of inputs (e x e), weights (e x 3) and outputs (m x e)."""

    inputs: Matrix
    weights: Matrix
    outputs: Matrix


def toom_cook(points: Sequence[float]) -> Transforms:
    """Evaluation at the points and infinity, and interpolation; exact for dyadic points.

    Points but the first come in pairs, p and -p, which the transforms make use of.
    """
    edge, m = len(points) + 1, len(points) - 1
    others = [[q for q in points if q != p] for p in points]
    inputs = [[*_from_roots(roots), 0.0] for roots in others] + [_from_roots(points)]
    scales = [math.prod(p - q for q in roots) for p, roots in zip(points, others, strict=True)]
    weights = [[p**k / scale for k in range(3)] for p, scale in zip(points, scales, strict=True)]
    outputs = [[*(p**k for p in points), float(k == m - 1)] for k in range(m)]
    assert len(inputs) == edge
    return Transforms(_matrix(inputs), _matrix([*weights, [0.0, 0.0, 1.0]]), _matrix(outputs))


def _from_roots(roots: Sequence[float]) -> list[float]:
    """Coefficients of the polynomial with these roots, constant first."""
    coefficients = [1.0]
    for root in roots:
        shifted = [0.0, *coefficients]
        coefficients = [s - root * c for s, c in zip(shifted, [*coefficients, 0.0], strict=True)]
    return coefficients


def _matrix(rows: Sequence[Sequence[float]]) -> Matrix:
    return tuple(tuple(row) for row in rows)


# Of points that floats hold exactly, these gave the smallest error of those tried: half that of
# the usual 0, 1, -1, 2, -2 for m = 4, and twice that of a plain sum over 256 channels.
TRANSFORMS = {m: toom_cook(p) for m, p in {2: (0, 1, -1), 4: (0, 0.75, -0.75, 1.5, -1.5)}.items()}
"""By m."""


def both_ways(
    matrix: Matrix,
    edge: int,
    lanes: int,
    read: Callable[[int, int, Any], Any],
    write: Callable[[int, int, Any, Any], Any],
    combine: Callable[[Matrix, Sequence[Any]], list[Any]],
) -> list[Any]:
    """matrix @ values @ matrix.T for a vector of channels; values are edge x edge."""
    size = len(matrix)
    between, take = emit.allocate("between", size * edge * lanes)

    def down(row: int, column: int) -> Any:
        return emit.vector(
            lanes,
            lambda lane: tirx.BufferStore(
                between,
                combine(matrix, [read(r, column, lane) for r in range(edge)])[row],
                [lane + (row * edge + column) * lanes],
            ),
        )

    def across(row: int, column: int) -> Any:
        def value(lane: Any) -> Any:
            at = [lane + (row * edge + c) * lanes for c in range(edge)]
            return combine(matrix, [tirx.BufferLoad(between, [a]) for a in at])[column]

        return emit.vector(lanes, lambda lane: write(row, column, lane, value(lane)))

    return [
        take,
        *[down(row, column) for column in range(edge) for row in range(size)],
        *[across(row, column) for row in range(size) for column in range(size)],
    ]


def rows_paired(matrix: Matrix, values: Sequence[Any]) -> list[Any]:
    """matrix @ values, where rows differ in the sign of their odd part only: parts are shared."""
    results = []
    for entries in matrix:
        even = _sum([(f if i % 2 == 0 else 0, v) for i, (f, v) in _pairs(entries, values)])
        odd_entries = [f if i % 2 else 0 for i, f in enumerate(entries)]
        sign = next((math.copysign(1, f) for f in odd_entries if f), 1.0)
        odd = _sum([(f * sign, v) for f, v in zip(odd_entries, values, strict=True)])
        if even is None or odd is None:
            results.append(even if odd is None else odd if sign > 0 else -odd)
        else:
            results.append(even + odd if sign > 0 else even - odd)
    return results


def columns_paired(matrix: Matrix, values: Sequence[Any]) -> list[Any]:
    """matrix @ values, where columns 1 and 2, 3 and 4, … differ in sign only: sums are shared."""
    results = []
    for entries in matrix:
        terms = [(entries[0], values[0])]
        for i in range(1, len(values) - 1, 2):
            a, b = entries[i], entries[i + 1]
            both = values[i] + values[i + 1] if a == b else values[i] - values[i + 1]
            terms.append((a, both))
        terms.append((entries[-1], values[-1]))
        results.append(_sum(terms))
    return results


def _pairs(entries: Sequence[float], values: Sequence[Any]) -> list[tuple[int, tuple[float, Any]]]:
    return list(enumerate(zip(entries, values, strict=True)))


def _sum(terms: Sequence[tuple[float, Any]]) -> Any:
    """The sum of factor * value, None when there is none."""
    total = None
    for factor, value in terms:
        if not factor:
            continue
        size = value if abs(factor) == 1 else value * emit.zero(abs(factor))
        if total is None:
            total = size if factor > 0 else -size
        else:
            total = total + size if factor > 0 else total - size
    return total
