"""Softmax along any dimension, for several vector units, judged in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.activation_cases import softmax
from tests.kernel_cases import Case, Draw
from tests.kernel_library import (
    PROFILES,
    Libraries,
    Library,
    built_when_wanted,
    check,
    check_all,
    check_written,
    numbered,
)

COUNTS = {"host": 20, "avx2": 12, "avx512": 12, "pi": 12}  # random cases of each profile


def softmax_case(seed: int) -> Case:
    """Of one to four dimensions more than the axis needs."""
    draw = Draw(seed)
    shape = [draw.size(7) for _ in range(draw.size(4, 2))]
    axis = draw.size(len(shape) - 1, 0)
    shape[axis] = draw.size(150)
    if draw.chance(0.5):
        shape[-1] = draw.size(60)
    return softmax(tuple(shape), axis, draw.epilogue())


LONG = softmax((2, 1001), 1)
EDGES = [
    softmax((1, 1), 1),
    softmax((5, 1), 0),
    softmax((50, 1, 1), 0),
    softmax((3, 1, 2), 1),
    LONG,
    softmax((1, 7), 1),  # one row, shorter than a vector
    softmax((5, 3), 1, "bias"),  # short rows side by side
    softmax((2, 3, 33), 1, "swish"),
    softmax((1, 40, 1, 1), 1),  # along the last dimension but for ones
    softmax((2, 300, 5), 1),  # powers too many for the stack
]


def cases_of(profile: str) -> list[Case]:
    first = 1000 * list(PROFILES).index(profile)
    return EDGES + [softmax_case(first + i) for i in range(COUNTS[profile])]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    return built_when_wanted(cases_of, tmp_path_factory.mktemp)


@pytest.mark.parametrize("profile", PROFILES)
def test_all_are_written_out(profile: str, libraries: Libraries) -> None:
    check_written(libraries(profile), {"softmax"})


@pytest.mark.parametrize(("profile", "index"), numbered(cases_of))
def test_case_equals_numpy(profile: str, index: int, libraries: Libraries) -> None:
    check(libraries(profile), index)


@pytest.mark.parametrize("shift", [-1e4, 0.0, 88.0, 1e4])
def test_large_and_small_numbers_and_masks(shift: float, libraries: Libraries) -> None:
    library = libraries("host")
    index = EDGES.index(LONG)
    (x,) = library.arguments(index)
    x = x * 30 + np.float32(shift)
    x[:, ::3] = -np.inf
    found = library.call(index, x)
    expected = LONG.expect(x.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_many_random_cases_equal_numpy(profile: str, tmp_path: Path) -> None:
    cases = [softmax_case(10_000 + i) for i in range(100)]
    check_all(Library(cases, PROFILES[profile], tmp_path))
