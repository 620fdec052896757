"""Where the plan changes, against fresh solves on both sides of each change."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import Limits, Problem, evaluate, fixed_placement, solve
from jointdnn_tvm.placement.conditions import CONDITIONS, present_value, with_value
from jointdnn_tvm.placement.plan_changes import Region, plan_changes
from tests.exhaustive import best_by_search
from tests.random_problems import random_problem


def cost(problem: Problem, region: Region) -> float:
    """What a region's plan costs."""
    found = evaluate(problem, region.placement, region.codecs)
    return found.objective(problem.objective)


@pytest.mark.parametrize("block", range(4))
def test_a_fresh_solve_agrees_on_both_sides_of_each_change(block: int) -> None:
    changes = 0
    for seed in range(block * 60, (block + 1) * 60):
        codecs = seed % 3 == 0
        problem = random_problem(
            seed, codecs=codecs, most=4 if codecs else 6, carried=seed % 4 == 0
        )
        found = plan_changes(problem, solve(problem))
        assert tuple(found) == CONDITIONS
        for condition, regions in found.items():
            for region in regions:
                middle = (region.least * region.most) ** 0.5
                for at in (region.least * (1 + 1e-6), middle, region.most * (1 - 1e-6)):
                    moved = with_value(problem, condition, at)
                    best = solve(moved).objective
                    assert cost(moved, region) == pytest.approx(best, rel=1e-9, abs=1e-15), seed
            if len(problem.operators) < 5:
                moved = with_value(problem, condition, regions[0].least)
                best_there, _ = best_by_search(moved) or (0, 0)
                assert cost(moved, regions[0]) == pytest.approx(float(best_there), rel=1e-9)
            for left, right in itertools.pairwise(regions):
                assert left.most == right.least
                changes += 1
                outside = with_value(problem, condition, right.most)
                assert cost(outside, left) > cost(outside, right), f"seed {seed}: no change"
    assert changes > 50


def test_the_answer_is_in_the_region_of_the_present() -> None:
    for seed in range(100):
        problem = random_problem(seed)
        answer = solve(problem)
        for condition, regions in plan_changes(problem, answer).items():
            present = present_value(problem, condition)
            (here,) = [region for region in regions if region.present]
            assert here.least * (1 - 1e-9) <= present <= here.most * (1 + 1e-9)
            assert [r for r in regions if r.this_plan] in ([here], [])
            if here.least * (1 + 1e-6) < present < here.most * (1 - 1e-6):
                assert here.this_plan, f"seed {seed}: {condition}"
                assert here.placement == answer.placement


def test_a_given_placement_that_is_not_optimal_has_no_region() -> None:
    problem = random_problem(5)
    best = solve(problem).placement
    for operator in problem.operators:
        for side in ("mobile", "cloud"):
            if side == best[operator.name] or operator.cost(side) is None:
                continue
            given = fixed_placement(problem, {**best, operator.name: side})
            if given.objective > solve(problem).objective * (1 + 1e-6):
                regions = plan_changes(problem, given)["uplink_bps"]
                assert not any(region.this_plan for region in regions)


def test_what_no_linear_function_prices() -> None:
    problem = replace(random_problem(5), limits=Limits(max_cloud_s=1))
    with pytest.raises(ProblemError, match="limits, blocks or throughput"):
        plan_changes(problem, solve(random_problem(5)))
