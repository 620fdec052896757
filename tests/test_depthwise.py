"""Depthwise convolutions of many sizes, for several vector units, judged in float64."""

from __future__ import annotations

from tests.kernel_cases import Case, Draw, convolution
from tests.kernel_tests import KernelTests

COUNTS = {"host": 18, "avx2": 12, "avx512": 12, "pi": 12}  # random cases of each profile


def depthwise_case(seed: int) -> Case:
    """Often with more padding than the window reaches."""
    draw = Draw(seed)
    kh, kw = draw.pair(5)
    dilation = draw.pair(3) if draw.chance(0.3) else (1, 1)
    reach = (kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1
    padding = draw.padding(4)
    down, across = (
        max(1, r - p - q) for r, p, q in zip(reach, padding[:2], padding[2:], strict=True)
    )
    channels = draw.size(40, 2)
    return convolution(
        (draw.size(4), down + draw.size(9, 0), across + draw.size(14, 0), channels),
        (kh, kw, 1, channels),
        draw.epilogue(),
        strides=draw.pair(3),
        padding=padding,
        dilation=dilation,
        groups=channels,
    )


EDGES = [
    convolution((1, 1, 1, 5), (1, 1, 1, 5), "spread", groups=5),
    convolution((1, 4, 1, 9), (3, 3, 1, 9), "bias", padding=(1, 1, 1, 1), groups=9),  # no inside
    convolution((1, 1, 2, 16), (5, 5, 1, 16), "", padding=(4, 4, 4, 4), groups=16),  # border only
    convolution((1, 2, 3, 70), (3, 3, 1, 70), padding=(1, 1, 1, 1), groups=70),  # few rows
    convolution((2, 9, 9, 1), (3, 3, 1, 1), "swish", strides=(2, 2), groups=1),
]


class TestDepthwise(KernelTests):
    kind = "depthwise"
    edges = EDGES
    counts = COUNTS

    @classmethod
    def draw(cls, seed: int) -> Case:
        return depthwise_case(seed)
