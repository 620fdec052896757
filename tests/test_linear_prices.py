"""Linear prices against the prices of the problem under each condition."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.placement.linear_prices import LinearPrices
from jointdnn_tvm.placement.plan_table import at_condition
from jointdnn_tvm.placement.prices import price
from tests.random_problems import random_problem


def listed(prices: Any) -> list[float]:
    """One price, or several; -1 where an operator cannot run."""
    prices = prices if isinstance(prices, list) else [prices]
    return [-1.0 if value is None else value for value in prices]


@pytest.mark.parametrize("seed", range(100))
def test_they_are_the_prices_of_the_problem_there(seed: int) -> None:
    problem = random_problem(seed, codecs=seed % 2 == 0)
    prices = LinearPrices(problem)
    rng = random.Random(seed)
    for _ in range(3):
        link = replace(
            problem.link,
            uplink_bps=10 ** rng.uniform(4, 6),
            downlink_bps=10 ** rng.uniform(4, 6),
            rtt_s=rng.choice((0.0, rng.random())),
        )
        slowdown = rng.uniform(0, 5)
        condition = np.array((1 / link.uplink_bps, 1 / link.downlink_bps, link.rtt_s, slowdown))
        found = prices.at(condition)
        wanted = price(at_condition(problem, link, slowdown))
        for name, values in vars(wanted).items():
            assert listed(vars(found)[name]) == pytest.approx(listed(values), rel=1e-14, abs=0)


def test_without_tensors() -> None:
    problem = replace(random_problem(3), tensors=())
    found = LinearPrices(problem).at(np.array((1.0, 1.0, 2.0, 1.0)))
    assert found.up == found.down == []
