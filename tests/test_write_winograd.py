"""Winograd's forms of 3x3 convolutions, all sizes forced into them, judged in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm.passes.kernels.winograd import Winograd
from jointdnn_tvm.passes.kernels.winograd_transforms import TRANSFORMS
from jointdnn_tvm.targets import TargetProfile
from tests.kernel_cases import Case, Draw, convolution
from tests.kernel_library import PROFILES, Library, check, check_all, check_written

# Random cases of each profile for F(2) and F(4), which take long to compile.
COUNTS = {"host": (5, 2), "avx2": (4, 1), "avx512": (2, 1), "pi": (2, 1)}
TOLERANCES = {2: 1e-5, 4: 3e-5}


def winograd_case(seed: int) -> Case:
    """A 3x3 convolution, down to a single pixel."""
    draw = Draw(seed)
    padding = draw.padding(2)
    down, across = (max(1, 3 - p - q) for p, q in zip(padding[:2], padding[2:], strict=True))
    image = (draw.size(3), down + draw.size(11, 0), across + draw.size(11, 0), draw.size(20))
    return convolution(image, (3, 3, image[3], draw.size(28, 2)), draw.epilogue(), padding=padding)


# So many tiles that they are taken in chunks, of which none sticks out of the image.
EDGES = [convolution((1, 30, 18, 3), (3, 3, 3, 9), "bias_relu")]


def cases_of(profile: str, outputs: int) -> list[Case]:
    first = 1000 * list(PROFILES).index(profile) + 100 * outputs
    edges = EDGES if profile in ("host", "avx2") else []
    return edges + [winograd_case(first + i) for i in range(COUNTS[profile][outputs == 4])]


def forced(cases: Sequence[Case], profile: str, outputs: int, folder: Path) -> Library:
    """The cases with the one form thought to take no time and all else to take for ever."""

    def seconds(form: Winograd, _profile: TargetProfile) -> float:
        return 0.0 if form.outputs == outputs else np.inf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Winograd, "seconds", seconds)
        return Library(cases, PROFILES[profile], folder)


Libraries = Callable[[str, int], Library]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    @functools.cache
    def build(profile: str, outputs: int) -> Library:
        folder = tmp_path_factory.mktemp(f"{profile}{outputs}")
        return forced(cases_of(profile, outputs), profile, outputs, folder)

    return build


@pytest.mark.parametrize("outputs", TOLERANCES)
@pytest.mark.parametrize("profile", PROFILES)
def test_all_are_written_out(profile: str, outputs: int, libraries: Libraries) -> None:
    library = libraries(profile, outputs)
    check_written(library, {"winograd"})
    for index in range(len(library.cases)):
        assert f"w0_winograd{outputs}panels" in library.lowered[f"case_{index}"].script()


@pytest.mark.parametrize(
    ("profile", "outputs", "index"),
    [
        pytest.param(profile, outputs, index, id=f"{profile}-F{outputs}-{case.name}")
        for profile in PROFILES
        for outputs in TOLERANCES
        for index, case in enumerate(cases_of(profile, outputs))
    ],
)
def test_case_equals_numpy(profile: str, outputs: int, index: int, libraries: Libraries) -> None:
    check(libraries(profile, outputs), index, TOLERANCES[outputs])


@pytest.mark.slow
@pytest.mark.parametrize("outputs", TOLERANCES)
@pytest.mark.parametrize("profile", PROFILES)
def test_many_random_cases_equal_numpy(profile: str, outputs: int, tmp_path: Path) -> None:
    cases = [winograd_case(10_000 + i) for i in range(20)]
    check_all(forced(cases, profile, outputs, tmp_path), TOLERANCES[outputs])


def test_every_form_is_tested() -> None:
    assert set(TRANSFORMS) == set(TOLERANCES)
