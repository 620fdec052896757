"""The table against a fresh solve, and against exhaustive search, at random conditions."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import Limits, Link, Problem, evaluate, solve
from jointdnn_tvm.placement.plan_table import PlanTable, Ranges, at_condition, plan_table
from tests.exhaustive import best_by_search
from tests.random_problems import dense_network, random_problem

RANGES = (
    Ranges((1e4, 1e6), (5e4, 5e4)),
    Ranges((1e4, 1e6), (2e4, 2e6)),
    Ranges((1e4, 1e6), (2e4, 2e6), (0.0, 0.2)),
    Ranges((1e4, 1e6), (2e4, 2e6), (0.0, 0.2), (0.5, 4.0)),
)


WIDE = (
    Ranges((1e5, 1e9), (2e7, 2e7), (0.02, 0.02)),
    Ranges((1e5, 1e9), (1e5, 1e9), (0.02, 0.02)),
    Ranges((1e5, 1e9), (1e5, 1e9), (0.0, 0.1)),
    Ranges((1e5, 1e9), (1e5, 1e9), (0.0, 0.1), (1.0, 10.0)),
)


def condition(problem: Problem, ranges: Ranges, rng: random.Random) -> tuple[Link, float]:
    """A link with rates drawn over their logarithm, and a slowdown."""

    def rate(least: float, most: float) -> float:
        return min(most, max(least, float(least * (most / least) ** rng.random())))

    link = replace(
        problem.link,
        uplink_bps=rate(*ranges.uplink_bps),
        downlink_bps=rate(*ranges.downlink_bps),
        rtt_s=rng.uniform(*ranges.rtt_s),
    )
    return link, rng.uniform(*ranges.slowdown)


@pytest.mark.parametrize("block", range(4))
def test_the_plan_looked_up_is_the_optimum(block: int) -> None:
    ranges = RANGES[block]
    for seed in range(block * 1000, block * 1000 + 200):
        rng = random.Random(seed)
        codecs, carried = seed % 3 == 0, seed % 4 == 0
        problem = random_problem(seed, codecs=codecs, most=4 if codecs else 6, carried=carried)
        table = plan_table(problem, ranges)
        for search in (True, False, False, False):
            link, slowdown = condition(problem, ranges, rng)
            there = at_condition(problem, link, slowdown)
            plan = table.look_up(link, slowdown)
            cost = evaluate(there, plan.placement, plan.codecs).objective(there.objective)
            assert cost == pytest.approx(solve(there).objective, rel=1e-9, abs=0), f"seed {seed}"
            if search and len(problem.operators) < 5:
                best, _ = best_by_search(there) or (0, 0)
                assert cost == pytest.approx(float(best), rel=1e-9, abs=0), f"seed {seed}"


@pytest.mark.parametrize("block", range(4))
def test_also_at_the_size_of_a_real_network(block: int) -> None:
    problem = dense_network(block)
    if block % 2:
        problem = replace(problem, objective="energy")
    table = plan_table(problem, WIDE[block])
    assert len(table.plans) > 2
    rng, used = random.Random(block), set()
    for number in range(250):
        link, slowdown = condition(problem, WIDE[block], rng)
        plan = table.look_up(link, slowdown)
        there = at_condition(problem, link, slowdown)
        cost = evaluate(there, plan.placement, plan.codecs).objective(there.objective)
        assert cost == pytest.approx(solve(there).objective, rel=1e-9, abs=0), number
        assert plan.cost(link, slowdown) == pytest.approx(cost, rel=1e-12, abs=0), number
        used.add(table.plans.index(plan))
    assert len(used) > 2


def test_json_gives_the_same_table_back() -> None:
    table = plan_table(random_problem(5), RANGES[1])
    assert PlanTable.from_json(json.loads(json.dumps(table.to_json()))) == table


def test_errors_are_one_clear_line() -> None:
    problem = random_problem(5)
    table = plan_table(problem, RANGES[0])
    with pytest.raises(ProblemError, match="uplink_bps 1 is outside the table's"):
        table.look_up(Link(1, 5e4))
    with pytest.raises(ProblemError, match="limits, blocks or throughput"):
        plan_table(replace(problem, limits=Limits(max_cloud_s=1)), RANGES[0])
    with pytest.raises(ProblemError, match="range of rtt_s"):
        Ranges((1, 2), (1, 2), (3, 2))
    with pytest.raises(ProblemError, match="plan table does not fit"):
        PlanTable.from_json({"format": "jointdnn-plan-table/1"})
