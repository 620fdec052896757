"""Convolutions and dense layers of many sizes, for several vector units, judged in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tvm

from jointdnn_tvm.passes.schedule_for_cpu import ScheduleForCpu
from tests.kernel_cases import Case, Draw, changing, convolution, dense
from tests.kernel_library import (
    PROFILES,
    Libraries,
    Library,
    built_when_wanted,
    check,
    check_all,
    check_written,
    fused_kernel,
    numbered,
)

# Random cases of each profile: 1x1, larger windows, dense. Wide tiles take long to compile.
COUNTS = {"host": (16, 14, 34), "avx2": (7, 10, 10), "avx512": (5, 6, 6), "pi": (5, 7, 7)}


def pointwise_case(seed: int) -> Case:
    """A 1x1 convolution."""
    draw = Draw(seed)
    image = (draw.size(4), *draw.pair(13), draw.size(24))
    kernel = (1, 1, image[3], draw.size(60))
    return convolution(image, kernel, draw.epilogue(), strides=draw.pair(2))


def window_case(seed: int) -> Case:
    """A convolution with a larger window: strides, dilation, groups, few channels in."""
    draw = Draw(seed)
    kh, kw = draw.pair(4)
    dilation = draw.pair(3) if draw.chance(0.3) else (1, 1)
    groups = draw.size(4, 2) if draw.chance(0.3) else 1
    depth = draw.size(3) if draw.chance(0.4) else draw.size(12)
    reach = (kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1
    image = (draw.size(3), reach[0] + draw.size(7, 0), reach[1] + draw.size(7, 0), depth * groups)
    return convolution(
        image,
        (kh, kw, depth, draw.size(20) * groups),
        draw.epilogue(),
        strides=draw.pair(3),
        padding=draw.padding(2),
        dilation=dilation,
        groups=groups,
    )


def dense_case(seed: int) -> Case:
    """A matrix of weights times 1 to 33 rows."""
    draw = Draw(seed)
    rows = draw.size(33)
    batch = draw.size(3) if draw.chance(0.3) else None
    x = (rows, draw.size(50)) if batch is None else (batch, rows, draw.size(50))
    return dense(x, draw.size(70), draw.epilogue())


EDGES = [
    convolution((1, 1, 1, 8), (1, 1, 8, 24), "spread"),  # squeeze and excitation
    convolution((2, 1, 1, 5), (1, 1, 5, 17), "spread_work"),
    convolution((1, 3, 3, 64), (3, 3, 64, 10), "bias_relu"),  # as much as a dense layer
    convolution((1, 6, 6, 8), (1, 1, 8, 1), "bias"),
    convolution((1, 3, 3, 2), (5, 5, 2, 3), "", padding=(1, 1, 1, 1)),  # larger than the image
    convolution((1, 2, 2, 3), (1, 1, 3, 4), "bias_relu", padding=(2, 0, 1, 3)),
    convolution((2, 2, 23, 5), (1, 1, 5, 16), "bias"),  # rows of pixels nearly whole tiles long
    convolution((1, 3, 41, 2), (3, 3, 2, 8), "bias", padding=(1, 1, 1, 1)),
    convolution((2, 3, 71, 3), (1, 1, 3, 20), strides=(2, 2)),
    dense((1, 37), 10, "spread"),
    dense((33, 1), 1, "bias_relu"),
    dense((1, 1), 1, "swish"),
    dense((2, 3, 4, 5), 6, "gelu"),
    dense((9, 203), 1500, "bias_relu"),  # weights over any second cache: fetched ahead
]


CHANGING = [
    changing(convolution((2, 5, 7, 8), (3, 3, 8, 37), padding=(1, 1, 1, 1))),
    changing(convolution((1, 6, 6, 12), (2, 3, 4, 27), groups=3, dilation=(1, 2))),
    # As of gradients by weights: windows nearly as large as images.
    changing(convolution((5, 9, 11, 2), (9, 11, 2, 21), padding=(1, 1, 1, 1))),
    changing(convolution((3, 13, 12, 1), (6, 6, 1, 5), dilation=(2, 2), padding=(0, 1, 1, 0))),
    changing(convolution((2, 5, 7, 6), (3, 3, 1, 6), groups=6)),  # depthwise: not packed
]


def cases_of(profile: str) -> list[Case]:
    first = 1000 * list(PROFILES).index(profile)
    kinds = zip((pointwise_case, window_case, dense_case), COUNTS[profile], strict=True)
    return EDGES + CHANGING + [case(first + i) for case, count in kinds for i in range(count)]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    return built_when_wanted(cases_of, tmp_path_factory.mktemp)


@pytest.mark.parametrize("profile", PROFILES)
def test_all_are_written_out(profile: str, libraries: Libraries) -> None:
    check_written(libraries(profile), {"dense", "convolution", "depthwise", "winograd"})


@pytest.mark.parametrize(("profile", "index"), numbered(cases_of))
def test_case_equals_numpy(profile: str, index: int, libraries: Libraries) -> None:
    check(libraries(profile), index)


@pytest.mark.parametrize(
    ("rows", "depth", "columns", "ahead"),
    [
        (9, 203, 4000, True),
        (1, 203, 4000, False),  # no tile during which to fetch
        (200, 203, 4000, False),  # multiplying takes so much longer
        (9, 203, 40, False),  # the second cache holds all weights
        (9, 20_000, 400, False),  # it does not hold two panels
    ],
)
def test_weights_are_fetched_ahead_where_memory_would_be_waited_for(
    rows: int, depth: int, columns: int, ahead: bool
) -> None:
    core = replace(PROFILES["avx2"], clock_hz=3e9, l2_bytes=1 << 19)
    profile = replace(core, bandwidth_bytes_per_s=15e9)
    module = tvm.IRModule({"kernel": fused_kernel(dense((rows, depth), columns), profile)})
    written = tvm.transform.Sequential([ScheduleForCpu(profile)])(module)
    assert ("llvm.prefetch" in written.script()) == ahead


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("part", range(4))
def test_many_random_cases_equal_numpy(profile: str, part: int, tmp_path: Path) -> None:
    kinds = (pointwise_case, window_case, dense_case)
    cases = [case(10_000 + 100 * part + i) for case in kinds for i in range(30)]
    check_all(Library(cases, PROFILES[profile], tmp_path))
