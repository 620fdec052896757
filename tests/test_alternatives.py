"""Other placements beside an answer, against exhaustive search."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from jointdnn_tvm.placement import InfeasibleError, Limits, Operator, Problem, SideCost, solve
from jointdnn_tvm.placement.alternatives import Alternative, baselines, moves
from jointdnn_tvm.placement.baselines import BASELINES, all_baselines
from tests.exhaustive import every_choice, meets_limits
from tests.random_problems import random_problem, with_limits
from tests.test_baselines import is_one_way, is_split
from tests.test_chain import slackened


def best_of_each_placement(problem: Problem) -> dict[tuple[str, ...], Fraction]:
    """The least objective of each placement that can meet the limits, over its codecs."""
    best: dict[tuple[str, ...], Fraction] = {}
    judge = slackened(problem)
    for sides, _, cost in every_choice(problem):
        if meets_limits(judge, cost):
            key = tuple(sides[o.name] for o in problem.operators)
            value = cost.objective(problem.objective)
            best[key] = min(value, best.get(key, value))
    return best


@pytest.mark.parametrize("block", range(4))
def test_each_move_costs_what_its_best_codecs_make_of_it(block: int) -> None:
    for seed in range(block * 50, (block + 1) * 50):
        limited, codecs = seed % 2 == 0, seed % 3 == 0
        problem = random_problem(
            seed,
            codecs=codecs,
            most=4 if codecs else 6,
            carried=seed % 5 == 0,
            objectives=("latency", "energy", "throughput") if limited else ("latency", "energy"),
        )
        problem = with_limits(problem, seed) if limited else problem
        try:
            answer = solve(problem)
        except InfeasibleError:
            continue
        best = best_of_each_placement(problem)
        found = moves(problem, answer)
        assert [m.moved for m in found if len(m.moved) == 1] == [
            (o.name,) for o in problem.operators
        ]
        for move in found:
            assert {answer.placement[name] for name in move.moved} == {"mobile", "cloud"} - {
                move.to
            }
            sides = {**answer.placement, **dict.fromkeys(move.moved, move.to)}
            expected = best.get(tuple(sides[o.name] for o in problem.operators))
            assert (move.result.why_not is None) == (expected is not None), f"seed {seed}"
            if expected is not None:
                assert move.result.objective == pytest.approx(float(expected), rel=1e-12, abs=0)
                assert move.result.change is not None
                assert move.result.change >= -1e-9 * answer.objective, f"seed {seed}"


def test_runs_of_several_move_as_a_whole() -> None:
    problem = random_problem(5)
    answer = solve(problem)
    assert [answer.placement[o.name] for o in problem.operators] == [
        "mobile", "mobile", "cloud", "cloud", "mobile",
    ]  # fmt: skip
    wholes = [move.moved for move in moves(problem, answer) if len(move.moved) > 1]
    assert wholes == [("op0", "op1"), ("op2", "op3")]


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("block", range(2))
def test_every_baseline_stands_beside_the_answer_or_says_why_not(block: int, carried: bool) -> None:
    impossible = broken = 0
    kinds = {
        "mobile-only": lambda _, sides: set(sides.values()) == {"mobile"},
        "cloud-only": lambda _, sides: set(sides.values()) == {"cloud"},
        "neurosurgeon": is_split,
        "dads": is_one_way,
    }
    for seed in range(block * 100, (block + 1) * 100):
        problem = random_problem(seed, carried=carried)
        if seed % 2 == 0:
            problem = with_limits(problem, seed)
        try:
            answer = solve(problem)
        except InfeasibleError:
            continue
        possible = all_baselines(problem)
        found = baselines(problem, answer)
        assert tuple(found) == BASELINES
        can_run = {
            name
            for name, fits in kinds.items()
            if any(fits(problem, sides) for sides, _, _ in every_choice(problem))
        }
        for name, baseline in found.items():
            if name in possible:
                objective = possible[name].objective
                assert (baseline.objective, baseline.why_not) == (objective, None)
                assert baseline.ratio is None or baseline.ratio >= 1 - 1e-9
            elif name in can_run:
                broken += 1
                assert (baseline.why_not or "").startswith("breaks max_"), f"seed {seed}"
                assert baseline.objective is not None
            else:
                impossible += 1
                assert baseline == Alternative(why_not=baseline.why_not)
                assert "on the" in (baseline.why_not or ""), f"seed {seed}"
    assert impossible > 5
    assert broken > 5


def test_reasons_name_operators_and_limits() -> None:
    problem = random_problem(5, chain=True)
    count = len(problem.operators)
    cost = SideCost(1.0)
    between = problem.operators[1:-1]
    ends = (Operator("op0", None, cost), Operator(f"op{count - 1}", cost, None))
    pinned = replace(problem, operators=(ends[0], *between, ends[1]))
    answer = solve(pinned)
    reasons = {name: found.why_not for name, found in baselines(pinned, answer).items()}
    last = f"op{count - 1}"
    both = f"'op0' runs on the cloud only and {last!r} after it on the mobile only"
    assert count > 1
    assert reasons == {
        "mobile-only": "'op0' cannot run on the mobile side",
        "cloud-only": f"{last!r} cannot run on the cloud side",
        "neurosurgeon": both,
        "dads": both,
    }
    assert moves(pinned, answer)[0].result.why_not == "'op0' cannot run on the mobile side"

    fast = {o.name: o.cloud.latency_s for o in problem.operators if o.cloud}
    limited = replace(problem, limits=Limits(max_cloud_s=sum(fast.values()) / 2))
    told = baselines(limited, solve(limited))["cloud-only"].why_not
    if len(fast) == count:
        assert told == (
            f"breaks max_cloud_s {sum(fast.values()) / 2:.6g} (takes {sum(fast.values()):.6g})"
        )
