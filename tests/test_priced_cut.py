"""The cheapest plan by random prices against every placement."""

from __future__ import annotations

import random

import pytest

from jointdnn_tvm.placement.measures import MEASURES
from jointdnn_tvm.placement.priced_cut import PricedCut
from tests.exhaustive import Exact, every_choice, exact
from tests.random_problems import random_problem


def _taken(cost: Exact) -> dict[str, float]:
    return {
        "latency": float(cost.latency),
        "energy": float(cost.energy),
        "cloud": float(cost.cloud),
        "weights": float(cost.mobile_bytes),
        "error": float(cost.error),
    }


def test_no_plan_is_cheaper() -> None:
    for seed in range(200):
        rng = random.Random(seed)
        problem = random_problem(seed, most=4, codecs=seed % 2 == 0, carried=seed % 3 == 0)
        tariff = {name: rng.choice((0.0, 1.0, rng.random())) for name in MEASURES[:5]}
        plan, taken = PricedCut(problem).cut(tariff)

        def price(cost: dict[str, float], tariff: dict[str, float] = tariff) -> float:
            return sum(tariff[name] * cost[name] for name in tariff)

        cost = _taken(exact(problem, plan.placement, plan.codecs))
        assert {name: taken[name] for name in cost} == pytest.approx(cost, abs=1e-12), seed
        best = min(price(_taken(cost)) for _, _, cost in every_choice(problem))
        assert price(cost) == pytest.approx(best, rel=1e-9, abs=1e-12), f"seed {seed}"
