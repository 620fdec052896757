"""Samples at half and twice each condition, against exhaustive search there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import Answer, InfeasibleError, Limits, solve
from jointdnn_tvm.placement.conditions import CONDITIONS, present_value, with_value
from jointdnn_tvm.placement.what_if import what_if
from tests.exhaustive import best_by_search, exact, meets_limits
from tests.random_problems import random_problem, with_blocks, with_limits
from tests.test_chain import slackened


@pytest.mark.parametrize("block", range(3))
def test_each_is_the_best_of_all_placements_there(block: int) -> None:
    same = other = none = 0
    for seed in range(block * 40, (block + 1) * 40):
        problem = random_problem(
            seed,
            chain=True,
            codecs=seed % 3 == 0,
            most=3 if seed % 3 == 0 else 5,
            objectives=("latency", "energy", "throughput"),
        )
        problem = with_blocks(problem, seed) if seed % 2 else problem
        problem = with_limits(problem, seed)
        try:
            answer = solve(problem)
        except InfeasibleError:
            continue
        found = what_if(problem, answer, 60.0)
        assert list(found) == [name for name in CONDITIONS if present_value(problem, name)]
        for condition, samples in found.items():
            present = present_value(problem, condition)
            assert [sample.value for sample in samples] == [present / 2, present * 2]
            for sample in samples:
                assert sample.proved
                judge = slackened(with_value(problem, condition, sample.value))
                best = best_by_search(judge)
                if best is None:
                    none += 1
                    assert sample.placement is None, f"seed {seed}"
                    assert (sample.why_not or "").startswith("no placement meets max_")
                    continue
                least = float(best[0])
                assert sample.objective == pytest.approx(least, rel=1e-9, abs=0), f"seed {seed}"
                ours = exact(judge, answer.placement, answer.codecs)
                fits = meets_limits(judge, ours)
                as_good = float(ours.objective(judge.objective)) == pytest.approx(least, rel=1e-9)
                assert sample.this_plan == (fits and as_good), f"seed {seed}"
                assert sample.placement is not None
                assert sample.codecs is not None
                shown = exact(judge, sample.placement, sample.codecs)
                assert float(shown.objective(judge.objective)) == pytest.approx(least, rel=1e-9)
                same, other = same + sample.this_plan, other + (not sample.this_plan)
    assert min(same, other, none) > 5


def test_a_slowdown_is_of_blocks_too() -> None:
    problem = with_blocks(random_problem(8, chain=True), 8)
    slower = with_value(problem, "slowdown", 2.0)
    assert {b.side for b in problem.blocks} == {"mobile", "cloud"}
    for before, after in zip(problem.blocks, slower.blocks, strict=True):
        factor = 2.0 if before.side == "cloud" else 1.0
        assert after == replace(before, latency_s=factor * before.latency_s)


def test_what_is_not_solved_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = replace(random_problem(5, chain=True), limits=Limits(max_cloud_s=10.0))
    answer = solve(problem)

    def unproved(*_: object) -> Answer:
        return replace(answer, status="feasible")

    def too_late(*_: object) -> Answer:
        raise ProblemError("time is up")

    monkeypatch.setattr("jointdnn_tvm.placement.what_if.solve", unproved)
    assert not any(s.proved for s in what_if(problem, answer, 0.0)["uplink_bps"])
    monkeypatch.setattr("jointdnn_tvm.placement.what_if.solve", too_late)
    for sample in what_if(problem, answer, 0.0)["uplink_bps"]:
        assert (sample.why_not, sample.proved, sample.placement) == ("time is up", False, None)
