"""The cut against exhaustive search."""

from __future__ import annotations

import itertools

import pytest

from jointdnn_tvm.placement import Link, Operator, Problem, SideCost, Tensor, solve
from tests.exhaustive import best_by_search, exact
from tests.random_problems import random_problem


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("block", range(10))
def test_the_cut_is_the_best_of_all_placements(block: int, carried: bool) -> None:
    for seed in range(block * 300, block * 300 + (60 if carried else 300)):
        codecs = seed % 4 == 0
        problem = random_problem(seed, codecs=codecs, most=4 if codecs else 7, carried=carried)
        answer = solve(problem)
        best, fewest = best_by_search(problem) or (0, -1)
        cost = exact(problem, answer.placement, answer.codecs)
        assert (cost.objective(problem.objective), cost.switches) == (best, fewest), f"seed {seed}"
        assert answer.switches == fewest, f"seed {seed}"
        assert answer.objective == pytest.approx(float(best), rel=1e-12, abs=0), f"seed {seed}"
        assert answer.objective == pytest.approx(answer.bound, rel=1e-10, abs=0), f"seed {seed}"


@pytest.mark.parametrize("count", [2, 3, 4, 9, 30])
def test_round_trips_that_outweigh_all_else_separate_no_operator_from_its_only_side(
    count: int,
) -> None:
    here, tiny = [f"op{index}" for index in range(count)], SideCost(1e-6)
    operators = (Operator(n, tiny if i % 2 else None, None if i % 2 else tiny)
                 for i, n in enumerate(here))  # fmt: skip
    between = (Tensor(f"t{n}", n, (other,), 1) for n, other in itertools.pairwise(here))
    tensors = (Tensor("input", None, ("op0",), 1), *between, Tensor("out", here[-1], (), 1, True))
    answer = solve(Problem(tuple(operators), tensors, Link(1e9, 1e9, rtt_s=0.2)))
    assert list(answer.placement.values()) == [("cloud", "mobile")[i % 2] for i in range(count)]
    assert answer.switches == 2 * ((count + 1) // 2)
    assert answer.objective == pytest.approx(answer.bound, rel=1e-9)
