"""Libraries timed in turns on a real device, also such that do not run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from jointdnn_tvm.cost.bench import Bench, Workload
from jointdnn_tvm.cost.race import Entrant, Outcome, _heats, failure, race
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.errors import CostError
from jointdnn_tvm.runtime.remote import connect
from tests.measurable import CRASH, MISSING, NAP, PRODUCT, QUICK, build_library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def bench(lab: LoopbackLab) -> Iterator[Bench]:
    with closing(Bench(partial(connect, lab.address("mobile"), deadline_s=20), "cpu", QUICK)) as b:
        yield b


def test_who_is_slower_and_who_does_not_run(bench: Bench, library: Path) -> None:
    entrants = [Entrant(library, w) for w in (PRODUCT, NAP, CRASH, MISSING, PRODUCT)]
    first, nap, crash, missing, same = race(bench, entrants, 7, 1, 20.0)
    assert first.share == 1
    assert nap.share > 10
    assert len(nap.times) == 3  # then it dropped out
    assert nap.surely_below == math.inf
    assert 0 < same.share < nap.share
    assert len(same.times) == 7
    assert same.surely_below < math.inf
    assert crash.share == missing.share == math.inf
    assert "was lost" in str(crash.reason)
    assert missing.reason
    assert bench.alive


def test_the_first_has_to_run(bench: Bench, library: Path) -> None:
    for workload in (CRASH, MISSING):
        entrants = [Entrant(library, w) for w in (workload, PRODUCT)]
        with pytest.raises(CostError, match="the kernel by the rules does not run"):
            race(bench, entrants, 3, 1, 20.0)


def test_a_library_that_does_not_load_is_out(bench: Bench, library: Path, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.so"
    garbage.write_bytes(b"no library")
    entrants = [Entrant(path, PRODUCT) for path in (library, garbage, library)]
    _, bad, good = race(bench, entrants, 3, 1, 20.0)
    assert "does not load" in str(bad.reason)
    assert good.reason is None


def test_outcomes() -> None:
    outcome = Outcome((2.0, 1.0, 4.0, 1.0, 1.0, 1.0), (2.0, 2.0, 4.0, 5.0, 2.0, 2.0))
    assert outcome.share == 0.5
    assert outcome.median_share == 0.5
    assert outcome.surely_below == 1.0
    assert (
        failure("why").share
        == failure("why").median_share
        == failure("why").surely_below
        == math.inf
    )


def test_large_arguments_are_not_held_together() -> None:
    def entrant(megabytes: int) -> Entrant:
        return Entrant(Path(), Workload("", "", (((megabytes << 18,), "float32"),)))

    sizes = [100, 100, 50, 20, 500, 10, 10]
    assert _heats([entrant(size) for size in sizes]) == [[1, 2], [3], [4], [5, 6]]
