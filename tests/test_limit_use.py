"""The use of limits against exhaustive search without each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import Answer, InfeasibleError, Limits, solve
from jointdnn_tvm.placement.limit_use import limit_uses
from tests.exhaustive import best_by_search, exact
from tests.random_problems import random_problem, with_limits
from tests.test_chain import slackened


@pytest.mark.parametrize("block", range(3))
def test_a_limit_binds_when_its_absence_gives_a_better_plan(block: int) -> None:
    bound = slack = 0
    for seed in range(block * 60, (block + 1) * 60):
        codecs = seed % 3 == 0
        problem = random_problem(seed, codecs=codecs, most=4 if codecs else 6)
        problem = with_limits(problem, seed)
        try:
            answer = solve(problem)
        except InfeasibleError:
            continue
        uses = limit_uses(problem, answer, answer.objective, 60.0)
        assert uses.keys() == problem.limits.active.keys()
        best, _ = best_by_search(slackened(problem)) or (0, 0)
        cost = exact(problem, answer.placement, answer.codecs)
        for name, use in uses.items():
            rest = {n: v for n, v in problem.limits.active.items() if n != name}
            limits = Limits(**rest, latency_sigmas=problem.limits.latency_sigmas)
            looser = replace(problem, limits=limits)
            without, _ = best_by_search(slackened(looser)) or (0, 0)
            assert use.objective_without == pytest.approx(float(without), rel=1e-10, abs=0), seed
            assert use.binding == (without < best * (1 - 1e-11)), f"seed {seed}"
            assert use.limit == problem.limits.active[name]
            if name == "max_energy_j":
                assert use.taken == pytest.approx(float(cost.energy), rel=1e-12, abs=0)
            if use.limit:
                assert use.share == pytest.approx(use.taken / use.limit)
            bound, slack = bound + bool(use.binding), slack + (not use.binding)
    assert bound > 8
    assert slack > 10


def test_what_is_not_proved_in_time_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = replace(random_problem(5, chain=True), limits=Limits(max_cloud_s=10.0))
    answer = solve(problem)

    def unproved(*_: object) -> Answer:
        return replace(answer, status="feasible")

    def too_late(*_: object) -> Answer:
        raise ProblemError("time is up")

    for instead in (unproved, too_late):
        monkeypatch.setattr("jointdnn_tvm.placement.limit_use.solve", instead)
        use = limit_uses(problem, answer, answer.objective, 0.0)["max_cloud_s"]
        assert (use.objective_without, use.binding) == (None, None)
        assert use.share == answer.cloud_s / 10
    monkeypatch.setattr("jointdnn_tvm.placement.limit_use.solve", unproved)
    use = limit_uses(problem, answer, answer.objective + 1, 0.0)["max_cloud_s"]
    assert (use.objective_without, use.binding) == (answer.objective, True)
