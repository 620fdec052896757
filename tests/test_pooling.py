"""Pools of many sizes, for several vector units, judged in float64."""

from __future__ import annotations

from tests.activation_cases import pool
from tests.kernel_cases import Case, Draw
from tests.kernel_tests import KernelTests

COUNTS = {"host": 24, "avx2": 16, "avx512": 16, "pi": 16}  # random cases of each profile


def pool_case(seed: int) -> Case:
    """Every window holds at least one number of the image."""
    draw = Draw(seed)
    kind = ("max", "mean", "mean with border")[seed % 3]
    kh, kw = draw.pair(5)
    dilation = draw.pair(3) if kind == "max" and draw.chance(0.3) else (1, 1)
    reach = (kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1
    top, bottom = draw.size(kh - 1, 0), draw.size(kh - 1, 0)
    left, right = draw.size(kw - 1, 0), draw.size(kw - 1, 0)
    ceil = draw.chance(0.3) and reach == (kh, kw)
    return pool(
        (draw.size(3), reach[0] + draw.size(9, 0), reach[1] + draw.size(20, 0), draw.size(40)),
        (kh, kw),
        draw.epilogue(),
        kind=kind,
        strides=(draw.size(min(kh, 3)), draw.size(min(kw, 3))),
        padding=(top, left, bottom, right),
        dilation=dilation,
        ceil_mode=ceil,
    )


EDGES = [
    pool((1, 1, 1, 1), (1, 1)),
    pool((1, 13, 13, 70), (13, 13), kind="mean"),  # of the whole image
    pool((2, 7, 30, 9), (7, 30), "bias_relu", kind="mean"),  # more columns than registers
    pool((1, 3, 3, 16), (3, 3), padding=(2, 2, 2, 2)),  # most windows over two borders
    pool((1, 4, 1, 9), (3, 3), "swish", kind="mean", padding=(1, 1, 1, 1)),  # no inside
    pool((1, 9, 40, 8), (2, 2), strides=(3, 3)),  # numbers that no window holds
    pool((1, 9, 6, 24), (3, 3), strides=(2, 2), ceil_mode=True),
    pool((1, 9, 6, 24), (3, 3), kind="mean", strides=(2, 2), padding=(1, 1, 1, 1), ceil_mode=True),
]


class TestPooling(KernelTests):
    kind = "pooling"
    edges = EDGES
    counts = COUNTS

    @classmethod
    def draw(cls, seed: int) -> Case:
        return pool_case(seed)
