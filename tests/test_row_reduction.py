"""Reductions of rows, alone and in normalisations, for several vector units, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax, s_tir

from jointdnn_tvm.passes.kernels.row_reduction import find_row_reduction
from tests.kernel_cases import Array, Case, Draw
from tests.kernel_library import PROFILES, fused_kernel
from tests.kernel_tests import KernelTests

op = relax.op
Shape = tuple[int, ...]

COUNTS = {"host": 24, "avx2": 12, "avx512": 12, "pi": 12}  # random cases of each profile
NAMES: dict[str, Any] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "prod": np.prod,
    "variance": np.var,
}


def reduction(name: str, shape: Shape, axes: tuple[int, ...], keep: bool = True) -> Case:
    """As `relax.op` has it."""

    def compute(x: Any) -> Any:
        return getattr(op, name)(x, axis=list(axes), keepdims=keep)

    def expect(x: Array) -> Array:
        return np.asarray(NAMES[name](x, axis=axes, keepdims=keep))

    return Case(f"{name}_{shape}_{axes}_{keep}".replace(" ", ""), (shape,), (), compute, expect)


def layer_norm(shape: Shape, axis: int = -1) -> Case:
    """With a scale and a shift along the axis."""

    def compute(x: Any, scale: Any, shift: Any) -> Any:
        return op.nn.layer_norm(x, scale, shift, axes=[axis], epsilon=1e-5)

    def expect(x: Array, scale: Array, shift: Array) -> Array:
        deviation = np.sqrt(x.var(axis, keepdims=True) + 1e-5)
        return np.asarray((x - x.mean(axis, keepdims=True)) / deviation * scale + shift)

    own = (shape[axis],)
    return Case(f"layer_norm_{shape}", (shape,), (own, own), compute, expect)


def powers(shape: Shape) -> Case:
    """The sum of squares of a difference from one number a row, and an exponential beside it."""

    def compute(x: Any, y: Any) -> Any:
        d = op.subtract(x, y)
        return op.sum(op.add(op.multiply(d, d), op.exp(op.negative(op.abs(d)))), axis=-1)

    def expect(x: Array, y: Array) -> Array:
        d = x - y
        return np.asarray((d * d + np.exp(-np.abs(d))).sum(-1))

    return Case(f"powers_{shape}", (shape, (*shape[:-1], 1)), (), compute, expect)


def reduction_case(seed: int) -> Case:
    """Over some of up to four dimensions, the last one mostly long and reduced."""
    draw = Draw(seed)
    shape = (*(draw.size(6) for _ in range(draw.size(3, 0))), draw.size(150))
    if draw.chance(0.2):
        return layer_norm(shape)
    if draw.chance(0.1):
        return powers(shape)
    axes = tuple(i for i in range(len(shape) - 1) if draw.chance(0.4))
    axes += (len(shape) - 1,) if draw.chance(0.85) or not axes else ()
    name = list(NAMES)[draw.size(len(NAMES) - 1, 0)]
    return reduction(name, shape, axes, draw.chance(0.5))


EDGES = [
    reduction("sum", (1000,), (0,), keep=False),
    reduction("max", (3, 8), (1,)),
    reduction("mean", (2, 5, 7, 33), (2, 3)),
    reduction("mean", (2, 40, 3, 5), (1,)),  # rows do not lie in memory
    reduction("min", (5, 7), (1,)),  # shorter than most vectors
    reduction("variance", (2, 3, 14, 14), (2, 3)),
    layer_norm((7, 97)),
    powers((4, 61)),
]


class TestRowReduction(KernelTests):
    edges = EDGES
    counts = COUNTS

    @classmethod
    def draw(cls, seed: int) -> Case:
        return reduction_case(seed)


@pytest.mark.parametrize(
    ("case", "found"),
    [
        (reduction("sum", (5, 64), (1,)), [True]),
        (reduction("max", (5, 64), (1,)), [True]),
        (reduction("prod", (5, 64), (0, 1)), [True]),
        (reduction("mean", (5, 64), (1,)), [True, False]),  # the division
        (powers((4, 61)), [True]),
        (reduction("sum", (5, 64), (0,)), [False]),  # side by side already
        (reduction("sum", (5, 64, 3), (1,)), [False]),
        (reduction("sum", (5, 7), (1,)), [False]),  # too short
    ],
)
def test_rows_that_lie_in_memory_are_found(case: Case, found: list[bool]) -> None:
    sch = s_tir.Schedule(fused_kernel(case, PROFILES["avx2"]))
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        if sch.get_consumers(block):
            try:
                sch.compute_inline(block)
            except s_tir.ScheduleError:
                continue  # the reduction itself
    blocks = [sch.get(block) for block in sch.get_child_blocks(sch.get_sblock("root"))]
    assert [find_row_reduction(b, PROFILES["avx2"]) is not None for b in blocks] == found
