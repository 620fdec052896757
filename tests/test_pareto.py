"""The whole front against exhaustive search, and what is said of a part of it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import InfeasibleError, Limits, Problem
from jointdnn_tvm.placement.pareto import ParetoFront, pareto_front
from tests.exhaustive import every_choice, exact, meets_limits
from tests.random_problems import random_problem, slackened, with_limits
from tests.test_solve import PROBLEM, densenet_like

CLOSE = 3e-8


def _all_costs(problem: Problem, other: str) -> list[tuple[Fraction, Fraction]]:
    judge = slackened(problem)
    return [
        (cost.latency, cost.energy if other == "energy" else cost.cloud)
        for _, _, cost in every_choice(problem)
        if meets_limits(judge, cost)
    ]


def _check(problem: Problem, other: str, seed: int) -> int:
    """Every placement is matched by one of the front, which no placement beats."""
    front = pareto_front(problem, other)
    everything = _all_costs(problem, other)
    found = []
    for plan in front.plans:
        cost = exact(problem, plan.placement, plan.codecs)
        found.append((cost.latency, cost.energy if other == "energy" else cost.cloud))
    for latency, taken in everything:
        assert any(
            a <= latency * (1 + Fraction(CLOSE)) and b <= taken * (1 + Fraction(CLOSE))
            for a, b in found
        ), f"seed {seed}"
        assert not any(
            (latency < a * (1 - Fraction(CLOSE)) and taken <= b)
            or (latency <= a and taken < b * (1 - Fraction(CLOSE)))
            for a, b in found
        ), f"seed {seed}"
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(found)), f"seed {seed}"
    assert front.slack_s == 0
    return len(found)


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("other", ["energy", "cloud"])
def test_the_front_is_whole(other: str, carried: bool) -> None:
    sizes = []
    for seed in range(50 if carried else 150):
        codecs = seed % 3 == 0
        problem = random_problem(seed, most=3 if codecs else 5, codecs=codecs, carried=carried)
        sizes.append(_check(problem, other, seed))
    assert max(sizes) >= 4


def test_other_limits_hold() -> None:
    feasible = 0
    for seed in range(60):
        problem = random_problem(seed, most=4)
        names = ["max_mobile_bytes", "max_mobile_peak_bytes", "max_cloud_s"]
        problem = with_limits(problem, seed, names=names)
        if not _all_costs(problem, "energy"):
            with pytest.raises(InfeasibleError):
                pareto_front(problem)
            continue
        _check(problem, "energy", seed)
        feasible += 1
    assert feasible > 30


def test_a_coarse_front_is_as_close_as_it_says() -> None:
    for seed in range(60):
        problem = random_problem(seed, most=6)
        whole = pareto_front(problem)
        _check_slack(whole, pareto_front(problem, resolution=0.25), seed)


def _check_slack(whole: ParetoFront, part: ParetoFront, seed: int) -> None:
    for plan in whole.plans:
        near = [
            other
            for other in part.plans
            if other.metrics.energy_j <= plan.metrics.energy_j * (1 + CLOSE)
        ]
        slower_s = min(p.metrics.latency_s for p in near) - plan.metrics.latency_s
        assert slower_s <= part.slack_s * (1 + CLOSE) + 1e-12, f"seed {seed}"


def test_when_the_time_is_up_the_gap_is_told() -> None:
    problem = densenet_like(0)
    part = pareto_front(problem, time_limit_s=3.0)
    assert len(part.plans) > 2
    assert part.slack_s > 0


def test_the_front_as_json() -> None:
    document = pareto_front(PROBLEM).to_json()
    assert (document["other"], document["slack_s"]) == ("energy", 0.0)
    assert document["plans"][0]["placement"] == {"a": "mobile", "b": "cloud", "c": "mobile"}
    assert document["plans"][0]["codecs"] == {"ab": "none", "bc": "none"}


def test_what_a_front_cannot_hold_is_one_clear_line() -> None:
    with pytest.raises(ProblemError, match="no front against 'bytes': use energy or cloud"):
        pareto_front(PROBLEM, "bytes")
    with pytest.raises(ProblemError, match="cannot hold blocks or limits on them: remove them"):
        pareto_front(replace(PROBLEM, limits=Limits(max_energy_j=1)))
