"""With its sides and codecs given, the columns take what the definition says."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest

from jointdnn_tvm.placement import SIDES, Limits, Problem, evaluate
from jointdnn_tvm.placement.integer_program import minimise
from jointdnn_tvm.placement.linear_model import LinearModel
from jointdnn_tvm.placement.problem import OBJECTIVES
from tests.random_problems import LIMITS, random_problem


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("target", [*OBJECTIVES, *LIMITS])
def test_every_metric_is_the_definitions(target: str, carried: bool) -> None:
    for seed in range(60):
        rng = random.Random(seed)
        problem = random_problem(seed, spreads=True, carried=carried)
        problem = replace(problem, limits=Limits(latency_sigmas=rng.choice((0.0, 1.5))))
        names = {
            o.name: rng.choice([s for s in SIDES if o.cost(s) is not None])
            for o in problem.operators
        }
        metrics = evaluate(problem, names)
        wanted = metrics.objective(target) if target in OBJECTIVES else metrics.limited(target)
        model = LinearModel(_pinned(problem, names), target)
        outcome = minimise(model.program, model.target, 10.0)
        while outcome.columns is not None and model.spread_cut(outcome.columns):
            outcome = minimise(model.program, model.target, 10.0)
        assert outcome.columns is not None
        assert model.plan(outcome.columns)[0] == names
        assert outcome.bound * model.unit == pytest.approx(wanted, rel=1e-7, abs=1e-12), seed


def _pinned(problem: Problem, sides: Mapping[str, str]) -> Problem:
    return replace(
        problem,
        operators=tuple(
            replace(o, cloud=None) if sides[o.name] == "mobile" else replace(o, mobile=None)
            for o in problem.operators
        ),
    )
