"""Plans for rates that vary, against the average of every placement over the samples."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import Link, Problem, evaluate, solve
from jointdnn_tvm.placement.plan_table import Ranges, plan_table
from jointdnn_tvm.placement.rates import RateSample, adaptive_mean, equivalent_problem
from tests.exhaustive import best_by_search, every_choice
from tests.random_problems import random_problem


def at_rates(problem: Problem, sample: RateSample) -> Problem:
    """The problem on the link of a sample."""
    rates = {"uplink_bps": sample.uplink_bps, "downlink_bps": sample.downlink_bps}
    return replace(problem, link=replace(problem.link, **rates))


def test_the_plan_is_the_best_on_average_and_adapting_is_no_worse() -> None:
    for seed in range(100):
        rng = random.Random(seed)
        problem = random_problem(seed, most=4)
        samples = [
            RateSample(rng.choice((1e4, 3e4, 9e5)), rng.choice((2e4, 8e5)), rng.randint(1, 4))
            for _ in range(3)
        ]
        total = sum(s.weight for s in samples)
        # Every placement without codecs, in the same order on each link.
        means = [Fraction(0)] * sum(1 for _ in every_choice(problem))
        adaptive = 0.0
        for sample in samples:
            there = at_rates(problem, sample)
            for index, (_, _, cost) in enumerate(every_choice(there)):
                means[index] += Fraction(sample.weight) * cost.objective(problem.objective)
            best, _ = best_by_search(there) or (0, 0)
            adaptive += sample.weight * float(best)
        steady = solve(equivalent_problem(problem, samples))
        assert steady.objective == pytest.approx(float(min(means) / Fraction(total)), rel=1e-10)
        taken = sum(
            s.weight * evaluate(at_rates(problem, s), steady.placement).objective(problem.objective)
            for s in samples
        )
        assert taken / total == pytest.approx(steady.objective, rel=1e-10), f"seed {seed}"
        rtt_s = problem.link.rtt_s
        table = plan_table(problem, Ranges((1e4, 9e5), (2e4, 8e5), (rtt_s, rtt_s)))
        found = adaptive_mean(table, problem.link, samples)
        assert found == pytest.approx(adaptive / total, rel=1e-9), f"seed {seed}"
        assert found <= steady.objective * (1 + 1e-9)


def test_errors_are_one_clear_line() -> None:
    with pytest.raises(ProblemError, match="rate samples are empty"):
        equivalent_problem(random_problem(1), [])
    with pytest.raises(ProblemError, match="uplink_bps is 0"):
        RateSample(0, 1)
    stream = replace(random_problem(1), link=Link(1, 1), objective="throughput")
    with pytest.raises(ProblemError, match="without limits"):
        equivalent_problem(stream, [RateSample(1, 1)])
