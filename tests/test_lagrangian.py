"""What prices tell: bounds that hold, and plans that are within the limits."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from jointdnn_tvm.placement import solve
from jointdnn_tvm.placement.lagrangian import relax
from jointdnn_tvm.placement.problem import Limits
from tests.exhaustive import best_by_search, exact, meets_limits
from tests.random_problems import random_problem, slackened, with_limits
from tests.test_solve import densenet_like

OBJECTIVES = ("latency", "energy", "throughput")


def test_bounds_hold_and_plans_are_possible() -> None:
    met = proved = 0
    for seed in range(300):
        problem = random_problem(
            seed, most=4, objectives=OBJECTIVES, spreads=True, carried=seed % 4 == 0
        )
        problem = with_limits(problem, seed)
        plan, bound, optimal = relax(problem, problem.objective, time.monotonic() + 10)
        judge = slackened(problem)
        best = best_by_search(judge)
        if plan is not None and best is not None:
            met += 1
            cost = exact(problem, plan.placement, plan.codecs)
            assert meets_limits(judge, cost), f"seed {seed}"
            assert cost.objective(problem.objective) >= best[0], f"seed {seed}"
            if optimal:
                proved += 1
                assert (cost.objective(problem.objective), cost.switches) == best, f"seed {seed}"
        if best is not None:
            assert bound <= float(best[0]) * (1 + 1e-9), f"seed {seed}"
    assert met > 150
    assert proved > 50


def test_the_bound_of_a_large_network_is_close() -> None:
    problem = replace(densenet_like(0), limits=Limits(max_cloud_s=0.1))
    plan, bound, _ = relax(problem, "latency", time.monotonic() + 10)
    assert plan is not None
    optimum = solve(problem).objective
    assert optimum * 0.95 < bound <= optimum <= plan.value("latency")


def test_no_time_takes_one_cut() -> None:
    problem = replace(densenet_like(0), limits=Limits(max_cloud_s=0.1))
    assert relax(problem, "latency", time.monotonic()).bound == pytest.approx(
        relax(replace(problem, limits=Limits()), "latency", time.monotonic()).bound
    )
