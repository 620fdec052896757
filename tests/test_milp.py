"""Limits and throughput on any DAG against exhaustive search, all by integer programs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import InfeasibleError, Limits, Problem, milp, solve
from jointdnn_tvm.placement.lagrangian import Relaxed
from jointdnn_tvm.placement.milp import solve_with_limits
from tests.check_clashes import check_clashes
from tests.exhaustive import best_by_search, exact, meets_limits
from tests.random_problems import LIMITS, random_problem, slackened, with_limits
from tests.test_solve import densenet_like

OBJECTIVES = ("latency", "energy", "throughput")


@pytest.fixture(autouse=True)
def no_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels have tests of their own: here also what they could answer is a program."""

    def nothing_more(problem: Problem, target: str, known: Relaxed, until: float) -> Relaxed:
        return known

    monkeypatch.setattr(milp, "search_labels", nothing_more)


def _check(problem: Problem, seed: int) -> None:
    judge = slackened(problem)
    best = best_by_search(judge)
    if best is None:
        with pytest.raises(InfeasibleError) as caught:
            solve_with_limits(problem)
        check_clashes(problem, caught.value, seed)
        return
    solution = solve_with_limits(problem)
    cost = exact(problem, solution.placement, solution.codecs)
    assert meets_limits(judge, cost), f"seed {seed}"
    assert (cost.objective(problem.objective), cost.switches) == best, f"seed {seed}"
    assert solution.proved, f"seed {seed}"
    assert solution.bound == pytest.approx(float(best[0]), rel=1e-10, abs=0), f"seed {seed}"


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_is_met_exactly(name: str) -> None:
    for seed in range(250):
        problem = random_problem(seed, most=5, objectives=OBJECTIVES, spreads=seed % 2 == 0)
        _check(with_limits(problem, seed, names=[name]), seed)


@pytest.mark.parametrize("part", range(2))
def test_limits_together_are_met_exactly(part: int) -> None:
    for seed in range(part * 300, (part + 1) * 300):
        problem = random_problem(seed, most=6, objectives=OBJECTIVES, spreads=seed % 2 == 0)
        _check(with_limits(problem, seed), seed)


@pytest.mark.parametrize("part", range(2))
def test_codecs_are_chosen_within_limits(part: int) -> None:
    for seed in range(part * 250, (part + 1) * 250):
        problem = random_problem(seed, most=3, objectives=OBJECTIVES, codecs=True)
        _check(with_limits(problem, seed), seed)


@pytest.mark.parametrize("name", LIMITS)
def test_limits_on_what_is_carried_are_met_exactly(name: str) -> None:
    for seed in range(60):
        codecs = seed % 4 == 0
        problem = random_problem(
            seed, most=3 if codecs else 5, objectives=OBJECTIVES, codecs=codecs, carried=True
        )
        _check(with_limits(problem, seed, names={name, LIMITS[seed % len(LIMITS)]}), seed)


def test_codecs_are_chosen_within_an_error_budget() -> None:
    for seed in range(200):
        problem = random_problem(seed, most=3, codecs=True)
        _check(with_limits(problem, seed, names=["max_error"]), seed)


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("codecs", [False, True])
def test_throughput_is_the_best_of_all_placements(codecs: bool, carried: bool) -> None:
    for seed in range(60 if carried else 200):
        most = 3 if codecs else 6
        problem = random_problem(
            seed, most=most, objectives=("throughput",), codecs=codecs, carried=carried
        )
        _check(problem, seed)


def test_a_large_network_is_proved() -> None:
    problem = replace(densenet_like(0), limits=Limits(max_cloud_s=0.1))
    answer = solve(problem)
    assert (answer.status, answer.solver) == ("optimal", "milp")
    assert answer.cloud_s <= 0.1
    assert answer.objective > solve(replace(problem, limits=Limits())).objective


def test_no_time_leaves_a_plan_and_a_bound() -> None:
    problem = replace(densenet_like(0), objective="throughput")
    answer = solve(problem, time_limit_s=0.5)
    assert answer.status == "feasible"
    assert answer.bound is not None
    assert 0.9 * answer.objective < answer.bound < answer.objective


def test_no_time_and_no_plan_is_one_clear_line() -> None:
    problem = replace(densenet_like(0), limits=Limits(max_cloud_s=0.1))
    with pytest.raises(ProblemError, match="time is up before a placement within the limits"):
        solve(problem, time_limit_s=0.0)


def test_highs_is_loaded_only_when_it_solves() -> None:
    code = "import sys, jointdnn_tvm.placement; print('highspy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
