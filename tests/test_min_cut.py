"""The cut against exhaustive search, and on networks as large as real ones."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TypeAlias

import pytest

from jointdnn_tvm.placement import (
    SIDES,
    Link,
    Operator,
    Problem,
    SideCost,
    Tensor,
    evaluate,
    solve,
)
from jointdnn_tvm.placement.problem import OBJECTIVES

Exact: TypeAlias = tuple[Fraction, int]


def exact_cost(problem: Problem, sides: dict[str, str]) -> Exact:
    """Objective and switches by section 5 of the format, in decimal fractions, no floats."""
    link = {name: _decimal(value) for name, value in vars(problem.link).items()}
    costs = [
        (sides[o.name], o.mobile if sides[o.name] == "mobile" else o.cloud)
        for o in problem.operators
    ]
    seconds = {
        side: sum((_decimal(c.latency_s) for s, c in costs if s == side and c), Fraction(0))
        for side in SIDES
    }
    joules = sum((_decimal(c.energy_j) for s, c in costs if s == "mobile" and c), Fraction(0))
    up_s = down_s = Fraction(0)
    for tensor in problem.tensors:
        bits = 8 * _decimal(tensor.size_bytes)
        goes_to = {sides[name] for name in tensor.consumers}
        if tensor.output and problem.outputs_on == "mobile":
            goes_to.add("mobile")
        comes_from = "mobile" if tensor.producer is None else sides[tensor.producer]
        if comes_from == "mobile" and "cloud" in goes_to:
            up_s += bits / link["uplink_bps"]
        if comes_from == "cloud" and "mobile" in goes_to:
            down_s += bits / link["downlink_bps"]
    walk = [sides[o.name] for o in problem.operators]
    walk = ["mobile"] * any(t.producer is None for t in problem.tensors) + walk
    walk = walk + ["mobile"] * (problem.outputs_on == "mobile")
    switches = sum(a != b for a, b in itertools.pairwise(walk))
    waits_s = switches * link["rtt_s"] / 2
    if problem.objective == "latency":
        return seconds["mobile"] + seconds["cloud"] + up_s + down_s + waits_s, switches
    radio = link["transmit_w"] * up_s + link["receive_w"] * down_s
    return joules + radio + link["idle_w"] * (seconds["cloud"] + waits_s), switches


def _decimal(value: float) -> Fraction:
    return Fraction(str(value))  # what the writer of 0.1 meant


def best_by_search(problem: Problem) -> Exact:
    choices = [[s for s in SIDES if o.cost(s) is not None] for o in problem.operators]
    names = [o.name for o in problem.operators]
    return min(
        exact_cost(problem, dict(zip(names, sides, strict=True)))
        for sides in itertools.product(*choices)
    )


def random_problem(seed: int) -> Problem:
    """All shapes: chains and DAGs, many or no inputs, pins, zeros, ties, decimal and odd costs."""
    rng = random.Random(seed)
    count = rng.randint(1, 7)
    few = rng.random() < 0.5  # few distinct values: many ties

    def number(scale: float) -> float:
        if rng.random() < 0.2:
            return 0.0
        return round(rng.choice((1, 2, 3)) * scale, 9) if few else rng.random() * scale

    def side_cost() -> SideCost:
        return SideCost(number(0.1), number(0.1), rng.randint(0, 100))

    def operator(index: int) -> Operator:
        mobile, cloud = side_cost(), side_cost()
        pinned = rng.random()
        return Operator(
            f"op{index}",
            None if pinned < 0.08 else mobile,
            None if pinned > 0.92 else cloud,
        )

    tensors: list[tuple[str | None, Sequence[int], bool]] = []
    chain = rng.random() < 0.3
    for index in range(count):
        later = range(index + 1, count)
        consumers = later[:1] if chain else rng.sample(later, rng.randint(0, min(3, len(later))))
        output = not consumers or rng.random() < 0.15
        tensors.append((f"op{index}", consumers, output))
    for _ in range(rng.choice((0, 1, 1, 2))):
        tensors.append((None, rng.sample(range(count), rng.randint(1, min(3, count))), False))
    rng.shuffle(tensors)
    return Problem(
        operators=tuple(map(operator, range(count))),
        tensors=tuple(
            Tensor(f"t{i}", producer, tuple(f"op{c}" for c in consumers), number(1000), output)
            for i, (producer, consumers, output) in enumerate(tensors)
        ),
        link=Link(
            uplink_bps=rng.choice((8e4, 4e4, 5.85e4)),
            downlink_bps=rng.choice((8e4, 1.6e5, 13.76e4)),
            rtt_s=rng.choice((0.0, 0.1, 0.2, 0.037)),
            transmit_w=number(1),
            receive_w=number(1),
            idle_w=number(1),
        ),
        objective=rng.choice(OBJECTIVES),
        outputs_on=rng.choice(("mobile", "any")),
    )


@pytest.mark.parametrize("block", range(10))
def test_the_cut_is_the_best_of_all_placements(block: int) -> None:
    for seed in range(block * 300, (block + 1) * 300):
        problem = random_problem(seed)
        answer = solve(problem)
        best, fewest = best_by_search(problem)
        assert exact_cost(problem, dict(answer.placement)) == (best, fewest), f"seed {seed}"
        assert answer.switches == fewest, f"seed {seed}"
        assert answer.objective == pytest.approx(float(best), rel=1e-12, abs=0), f"seed {seed}"
        assert answer.objective == pytest.approx(answer.bound, rel=1e-10, abs=0), f"seed {seed}"


@pytest.mark.parametrize("seed", range(200))
def test_the_evaluator_agrees_with_the_definition(seed: int) -> None:
    problem = random_problem(seed)
    for objective in OBJECTIVES:
        problem = replace(problem, objective=objective)
        sides = solve(problem).placement
        cost, switches = exact_cost(problem, dict(sides))
        metrics = evaluate(problem, sides)
        assert metrics.objective(objective) == pytest.approx(float(cost), rel=1e-12, abs=0)
        assert metrics.switches == switches
