"""Whether limits that a solver says clash do so, by search over all placements."""

from __future__ import annotations

from dataclasses import replace

from jointdnn_tvm.placement import InfeasibleError, Limits, Problem
from tests.exhaustive import every_choice, meets_limits
from tests.random_problems import slackened

_LESS = 1 - 1e-6


def check_clashes(problem: Problem, error: InfeasibleError, seed: int) -> None:
    """The limits named clash; each one raised to its least value resolves it, and less does not."""
    sigmas = problem.limits.latency_sigmas
    named = {clash.limit: clash.value for clash in error.clashes}
    costs = [cost for _, _, cost in every_choice(problem)]

    def can_be_met(limits: dict[str, float]) -> bool:
        judged = slackened(replace(problem, limits=Limits(**limits, latency_sigmas=sigmas)))
        return any(meets_limits(judged, cost) for cost in costs)

    assert not can_be_met(named), f"seed {seed}"
    for clash in error.clashes:
        assert can_be_met(named | {clash.limit: clash.least}), f"seed {seed}"
        assert not can_be_met(named | {clash.limit: clash.least * _LESS}), f"seed {seed}"
