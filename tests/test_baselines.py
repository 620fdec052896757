"""Baselines against a search over the placements of their kind, and against the optimum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import pytest

from jointdnn_tvm.placement import Limits, Problem, solve
from jointdnn_tvm.placement.baselines import all_baselines
from tests.exhaustive import crossing, every_choice, meets_limits
from tests.random_problems import random_problem


def is_split(problem: Problem, sides: Mapping[str, str]) -> bool:
    """Whether the mobile runs a first part of the order, and the cloud the rest."""
    order = [sides[o.name] for o in problem.operators]
    return order == sorted(order, reverse=True)


def is_one_way(problem: Problem, sides: Mapping[str, str]) -> bool:
    """Whether no operator on the mobile reads what the cloud made."""
    down = [tensor for tensor, direction in crossing(problem, sides) if direction == "down"]
    return all(sides[name] == "cloud" for tensor in down for name in tensor.consumers)


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("block", range(3))
def test_each_is_the_best_of_its_kind_and_never_beats_the_optimum(
    block: int, carried: bool
) -> None:
    kinds = {
        "mobile-only": lambda _, sides: set(sides.values()) == {"mobile"},
        "cloud-only": lambda _, sides: set(sides.values()) == {"cloud"},
        "neurosurgeon": is_split,
        "dads": is_one_way,
    }
    for seed in range(block * 200, block * 200 + (60 if carried else 200)):
        codecs = seed % 3 == 0
        problem = random_problem(seed, codecs=codecs, most=4 if codecs else 6, carried=carried)
        best: dict[str, Fraction] = {}
        for sides, _, cost in every_choice(problem):
            for name, fits in kinds.items():
                if fits(problem, sides):
                    value = cost.objective(problem.objective)
                    best[name] = min(value, best.get(name, value))
        found = all_baselines(problem)
        assert found.keys() == best.keys(), f"seed {seed}"
        optimum = solve(problem).objective
        for name, answer in found.items():
            assert answer.objective == pytest.approx(float(best[name]), rel=1e-10, abs=0), seed
            assert optimum <= answer.objective * (1 + 1e-10), f"seed {seed}"
            assert answer.solver == name


def test_what_breaks_a_limit_is_left_out() -> None:
    for seed in range(100):
        problem = replace(random_problem(seed), limits=Limits(max_cloud_s=0.05))
        allowed = [sides for sides, _, cost in every_choice(problem) if meets_limits(problem, cost)]
        assert all(answer.placement in allowed for answer in all_baselines(problem).values())
