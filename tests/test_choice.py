"""Whatever a choice says, kernels give the right answer and keep within their buffers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jointdnn_tvm.compiling import pass_context, tvm_target
from jointdnn_tvm.passes.kernels.choice import Choice, chosen, written_out
from jointdnn_tvm.passes.kernels.tunable import tunable
from jointdnn_tvm.passes.pipeline import kernels_in
from jointdnn_tvm.targets import TargetProfile, load_target
from jointdnn_tvm.tuning.space import Space
from tests import kernel_cases
from tests.kernel_cases import Case
from tests.kernel_library import PROFILES, Library, check_all, module_of

_NUMBERS = {
    "outputs": (0, 2, 4, -1, 9),
    "rows": (-1, 0, 1, 2, 5, 13, 1000),
    "vectors": (-1, 0, 1, 2, 3, 1000),
    "lanes": (-4, 0, 1, 3, 4, 8, 16, 1 << 40),
    "block": (-1, 0, 1, 3, 1 << 40),
    "chunk": (-1, 0, 1, 5, 1 << 40),
    "in_rows": (0, 1, 7),
    "unroll": (-1, 1, 2, 8, 1 << 40),
    "fetch_ahead": (0, 1),
    "pixels": (-1, 0, 1, 3, 1 << 40),
    "apart": (-1, 0, 1),
    "colour": (1,),
}


def shapes(size: int) -> list[Case]:
    """Cases whose shapes nobody else has, so that each has a choice of its own."""
    return [
        kernel_cases.convolution((1, 9, size, 20), (3, 3, 20, 24), padding=(1, 1, 1, 1)),
        kernel_cases.convolution((1, 8, size, 12), (1, 1, 12, 40), "bias_relu"),
        kernel_cases.convolution((1, 11, size, 3), (3, 3, 3, 33), "bias", strides=(2, 2)),
        kernel_cases.convolution((2, 5, size, 8), (3, 2, 4, 34), groups=2),
        kernel_cases.convolution((1, 7, size, 19), (3, 3, 1, 19), groups=19, padding=(1, 1, 1, 1)),
    ]


def kernels_of(cases: list[Case], profile: TargetProfile) -> list[object]:
    """The kernel of each, as a choice is kept under its name."""
    target = tvm_target(load_target("host"))
    with target, pass_context(None):
        found = kernels_in(module_of(cases), target, profile)
    return [tunable(found[f"case_{i}"][0]) for i in range(len(cases))]


def tuned(cases: list[Case], profile: TargetProfile, choices: Iterator[Choice]) -> TargetProfile:
    names = map(repr, kernels_of(cases, profile))
    return replace(profile, tuned=dict(zip(names, choices, strict=False)))


@pytest.mark.parametrize("name", ["host", "avx2"])
def test_any_numbers(name: str, tmp_path: Path) -> None:
    draw = random.Random(name)
    cases = [case for size in range(10, 15) for case in shapes(size)]

    def choices() -> Iterator[Choice]:
        while True:
            some = draw.sample(sorted(_NUMBERS), draw.randint(1, len(_NUMBERS)))
            yield {number: draw.choice(_NUMBERS[number]) for number in some}

    check_all(Library(cases, tuned(cases, PROFILES[name], choices()), tmp_path))


def test_what_a_search_tries(tmp_path: Path) -> None:
    profile, draw = PROFILES["host"], random.Random(1)
    cases = [case for size in range(10, 13) for case in shapes(size)]
    tried = {}
    for kernel in kernels_of(cases, profile):
        space = Space(kernel, profile, joined=True)
        found = [*space.starts(), *space.neighbours(space.rule)]
        tried[repr(kernel)] = draw.choice(found)
    library = Library(cases, replace(profile, tuned=tried), tmp_path)
    check_all(library)
    plain = Library(cases, profile, tmp_path)
    different = sum(
        library.lowered[a].script() != plain.lowered[b].script()
        for i in range(len(cases))
        for a, b in zip(library.kernels(i), plain.kernels(i), strict=False)
    )
    assert different > len(cases) / 2  # choices are no decoration


def test_what_stands_behind_a_kernel_stays_apart(tmp_path: Path) -> None:
    profile, cases = PROFILES["host"], shapes(16)
    names = map(repr, kernels_of(cases, profile))
    apart = Library(cases, replace(profile, tuned={n: {"apart": 1} for n in names}), tmp_path)
    check_all(apart)
    joined = Library(cases, profile, tmp_path)
    assert [len(joined.kernels(i)) for i in range(len(cases))] == [1] * len(cases)
    assert [len(apart.kernels(i)) for i in range(len(cases))] == [1, 2, 2, 1, 1]


def test_kernels_are_known_by_what_they_are() -> None:
    profile = replace(PROFILES["host"], tuned={"'a kernel'": {"rows": 3}})
    assert chosen("a kernel", profile) == {"rows": 3}
    assert chosen("another", profile) == {}


@pytest.mark.parametrize(("given", "taken"), [({}, 0), ({"unroll": -3}, 0), ({"unroll": 99}, 16)])
def test_loops_are_written_out_within_reason(given: Choice, taken: int) -> None:
    assert written_out(given) == taken
