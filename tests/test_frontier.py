"""Walks take what the definition says of the plans that they are."""

from __future__ import annotations

import random

import pytest

from jointdnn_tvm.placement import Link, Operator, Problem, SideCost, Tensor, evaluate
from jointdnn_tvm.placement.choices import Choices
from jointdnn_tvm.placement.frontier import UNIT, Frontier, TooWideError
from tests.random_problems import random_problem


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("codecs", [False, True])
def test_a_walk_takes_what_its_plan_takes(codecs: bool, carried: bool) -> None:
    for seed in range(150):
        rng = random.Random(seed)
        problem = random_problem(seed, codecs=codecs, carried=carried)
        choices = Choices(problem, problem.objective, at_most=100.0)
        layers = Frontier(problem, choices, [problem.objective], 0.0).layers
        state, taken = 0, 0
        placement: dict[str, str] = {}
        used: dict[str, str] = {}
        for operator, layer in zip(problem.operators, layers, strict=True):
            step = rng.choice(layer[state])
            placement[operator.name] = step.side
            used |= dict(step.codecs)
            state, taken = step.state, taken + step.takes[0]
        unit = choices.units[problem.objective]
        metrics = evaluate(problem, placement, used)
        assert set(used) == {*metrics.up, *metrics.down}, f"seed {seed}"
        value = metrics.objective(problem.objective)
        assert taken / UNIT * unit == pytest.approx(value, rel=1e-12, abs=1e-12), f"seed {seed}"


def test_many_branches_are_too_wide() -> None:
    cost = SideCost(0.1)
    names = [f"op{index}" for index in range(40)]
    operators = tuple(Operator(name, cost, cost) for name in [*names, "last"])
    tensors = tuple(Tensor(f"of {name}", name, ("last",), 100) for name in names)
    problem = Problem(operators, tensors, Link(1e6, 1e6))
    with pytest.raises(TooWideError):
        Frontier(problem, Choices(problem, "latency"), ["latency"], 0.0)
