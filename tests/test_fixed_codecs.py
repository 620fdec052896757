"""Codecs of given placements, and baselines with them, against every choice there is."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from jointdnn_tvm.placement import Limits, Problem, evaluate
from jointdnn_tvm.placement.baselines import all_baselines
from jointdnn_tvm.placement.fixed_codecs import best_codecs
from tests.exhaustive import every_choice, meets_limits
from tests.random_problems import random_problem, slackened


def with_error_limit(seed: int) -> Problem:
    """Its limit lies among the errors that placements have."""
    problem = random_problem(seed, codecs=True, most=4, carried=seed % 4 == 0)
    errors = sorted({float(cost.error) for _, _, cost in every_choice(problem)})
    limit = random.Random(seed).choice(errors)
    return replace(problem, limits=Limits(max_error=limit))


def least(problem: Problem) -> dict[tuple[tuple[str, str], ...], Fraction]:
    """The least objective of each placement, over all codecs that meet the limit."""
    found: dict[tuple[tuple[str, str], ...], Fraction] = {}
    for sides, _, cost in every_choice(problem):
        if meets_limits(slackened(problem), cost):
            key, value = tuple(sorted(sides.items())), cost.objective(problem.objective)
            found[key] = min(value, found.get(key, value))
    return found


@pytest.mark.parametrize("block", range(2))
def test_no_other_codecs_are_better(block: int) -> None:
    compared = 0
    for seed in range(block * 40, (block + 1) * 40):
        problem = with_error_limit(seed)
        for key, value in least(problem).items():
            placement = dict(key)
            codecs = best_codecs(problem, placement)  # type: ignore[arg-type]
            metrics = evaluate(problem, placement, codecs)
            assert metrics.error <= (problem.limits.max_error or 0) * (1 + 1e-9)
            assert metrics.objective(problem.objective) == pytest.approx(float(value), rel=1e-9)
            compared += 1
    assert compared > 100


def test_one_sided_baselines_stay_within_the_error() -> None:
    saved = 0
    for seed in range(60):
        problem = with_error_limit(seed)
        found = all_baselines(problem)
        values = least(problem)
        for name, side in (("mobile-only", "mobile"), ("cloud-only", "cloud")):
            key = tuple(sorted((o.name, side) for o in problem.operators))
            assert (name in found) == (key in values), f"seed {seed}"
            if key in values:
                assert found[name].objective == pytest.approx(float(values[key]), rel=1e-9)
                free = all_baselines(replace(problem, limits=Limits()))[name]
                saved += free.error > (problem.limits.max_error or 0) * (1 + 1e-9)
    assert saved > 5
