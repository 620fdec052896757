"""The cut against exhaustive search."""

from __future__ import annotations

import pytest

from jointdnn_tvm.placement import solve
from tests.exhaustive import best_by_search, exact
from tests.random_problems import random_problem


@pytest.mark.parametrize("block", range(10))
def test_the_cut_is_the_best_of_all_placements(block: int) -> None:
    for seed in range(block * 300, (block + 1) * 300):
        codecs = seed % 4 == 0
        problem = random_problem(seed, codecs=codecs, most=4 if codecs else 7)
        answer = solve(problem)
        best, fewest = best_by_search(problem) or (0, -1)
        cost = exact(problem, answer.placement, answer.codecs)
        assert (cost.objective(problem.objective), cost.switches) == (best, fewest), f"seed {seed}"
        assert answer.switches == fewest, f"seed {seed}"
        assert answer.objective == pytest.approx(float(best), rel=1e-12, abs=0), f"seed {seed}"
        assert answer.objective == pytest.approx(answer.bound, rel=1e-10, abs=0), f"seed {seed}"
