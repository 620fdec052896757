"""What is asked of every kernel of ours, as a class of tests that its test file fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.kernel_cases import Case
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

MANY = 100


class KernelTests:
    """`edges` and as many random cases as `counts` says, compiled for each profile.

    Each case must be written out by a kernel of that `kind`, keep within its buffers, and equal
    NumPy.
    """

    kind: ClassVar[str] = ""
    edges: ClassVar[Sequence[Case]]
    counts: ClassVar[Mapping[str, int]] = {"host": 20, "avx2": 12, "avx512": 12, "pi": 12}

    @classmethod
    def draw(cls, seed: int) -> Case:
        """A random case."""
        raise NotImplementedError

    @classmethod
    def cases_of(cls, profile: str) -> list[Case]:
        first = 1000 * list(PROFILES).index(profile)
        return [*cls.edges, *(cls.draw(first + i) for i in range(cls.counts[profile]))]

    def pytest_generate_tests(self, metafunc: Any) -> None:
        if {"profile", "index"} <= {*metafunc.fixturenames}:
            metafunc.parametrize(("profile", "index"), numbered(self.cases_of))
        elif "profile" in metafunc.fixturenames:
            metafunc.parametrize("profile", PROFILES)

    @pytest.fixture(scope="class")
    @classmethod
    def libraries(cls, tmp_path_factory: pytest.TempPathFactory) -> Libraries:
        return built_when_wanted(cls.cases_of, tmp_path_factory.mktemp)

    def test_all_are_written_out(self, profile: str, libraries: Libraries) -> None:
        check_written(libraries(profile), {self.kind})

    def test_case_equals_numpy(self, profile: str, index: int, libraries: Libraries) -> None:
        check(libraries(profile), index)

    @pytest.mark.slow
    def test_many_random_cases_equal_numpy(self, profile: str, tmp_path: Path) -> None:
        cases = [self.draw(10_000 + i) for i in range(MANY)]
        check_all(Library(cases, PROFILES[profile], tmp_path))
