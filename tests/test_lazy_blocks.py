"""Blocks measured on demand: the plan of all blocks, with fewer measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import SIDES, Block, Problem, solve
from jointdnn_tvm.placement.lazy_blocks import Run, solve_lazily
from tests.random_problems import random_problem, with_blocks

LOWER = 0.5  # with_blocks draws no less
PROBLEMS = [random_problem(seed, most=8, chain=True) for seed in range(120)]


def _with_all_blocks(problem: Problem, seed: int) -> Problem:
    """Every run has a block: those drawn, and the sum for the rest."""
    known = {Run(b.side, b.first, b.last): b for b in with_blocks(problem, seed).blocks}
    operators = problem.operators
    for side in SIDES:
        for first in range(len(operators)):
            for last in range(first, len(operators)):
                costs = [o.cost(side) for o in operators[first : last + 1]]
                seconds = [cost.latency_s for cost in costs if cost is not None]
                run = Run(side, operators[first].name, operators[last].name)
                if len(seconds) == len(costs):
                    known.setdefault(run, Block(*run, math.fsum(seconds)))
    return replace(problem, blocks=tuple(known.values()))


def test_the_plan_is_that_of_all_blocks_and_no_run_is_asked_for_twice() -> None:
    fewer = 0
    for seed, problem in enumerate(PROBLEMS):
        full = _with_all_blocks(problem, seed)
        true = {Run(b.side, b.first, b.last): b.latency_s for b in full.blocks}
        asked: list[Run] = []

        def measure(
            runs: Sequence[Run], asked: list[Run] = asked, true: dict[Run, float] = true
        ) -> list[float]:
            asked += runs
            return [true[run] for run in runs]

        lazy = solve_lazily(problem, measure, lower=LOWER)
        wanted = solve(full).objective
        assert lazy.answer.objective == pytest.approx(wanted, rel=1e-9, abs=1e-12), f"seed {seed}"
        assert len(asked) == len(set(asked)) == lazy.measured, f"seed {seed}"
        assert {Run(b.side, b.first, b.last): b.latency_s for b in lazy.problem.blocks} == {
            run: true[run] for run in asked
        }
        fewer += len(asked) < len(true)
    assert fewer > len(PROBLEMS) / 2


def test_it_says_what_the_answer_rests_on() -> None:
    lazy = solve_lazily(PROBLEMS[0], lambda runs: [0.0] * len(runs), lower=0)
    assert str(lazy).startswith(f"optimal with {lazy.measured} runs measured in {lazy.rounds} ")
    assert str(lazy).endswith("if no other run takes less than 0 of its operators' sum")


def test_a_bad_factor_is_one_clear_line() -> None:
    with pytest.raises(ProblemError, match="lower is 2: use a number from 0 to 1"):
        solve_lazily(PROBLEMS[0], lambda runs: [0.0] * len(runs), lower=2)


def test_branches_are_refused() -> None:
    seed = next(s for s in range(100) if not random_problem(s, chain=False).is_chain)
    with pytest.raises(ProblemError, match="only chains have blocks"):
        solve_lazily(random_problem(seed, chain=False), lambda runs: [0.0] * len(runs))
