"""Labels against exhaustive search, and networks whose layers are alike."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from operator import le

import numpy as np
import pytest

from jointdnn_tvm.placement import (
    Limits,
    Link,
    Operator,
    Problem,
    SideCost,
    Tensor,
    label_search,
    solve,
)
from jointdnn_tvm.placement.check_problem import check_sides
from jointdnn_tvm.placement.judged_plan import judge
from jointdnn_tvm.placement.label_search import search_labels
from jointdnn_tvm.placement.lagrangian import Relaxed
from tests.exhaustive import best_by_search, every_choice, exact, meets_limits
from tests.random_problems import random_problem, slackened, with_limits

ADD_UP = ("max_latency_s", "max_energy_j", "max_cloud_s", "max_mobile_bytes", "max_error")


def _limited(seed: int, *, most: int, codecs: bool = False) -> Problem:
    problem = random_problem(seed, most=most, codecs=codecs, carried=seed % 4 == 0)
    problem = with_limits(problem, seed, names=ADD_UP)
    return replace(problem, limits=replace(problem.limits, latency_sigmas=0.0))


def _from_worst(problem: Problem) -> Relaxed:
    """What is found when no more is known than the worst plan within the limits."""
    judged = slackened(problem)
    possible = [choice for choice in every_choice(problem) if meets_limits(judged, choice[2])]
    sides, codecs, _ = max(possible, key=lambda choice: choice[2].objective(problem.objective))
    worst = judge(problem, check_sides(problem, sides), codecs)
    return search_labels(problem, problem.objective, Relaxed(worst, 0.0), time.monotonic() + 60)


def _check(problem: Problem, seed: int) -> bool:
    """Whether there is anything to find; then the best is."""
    judged = slackened(problem)
    best = best_by_search(judged)
    if best is None or not best[0]:
        return False
    found = _from_worst(problem)
    assert found.optimal, f"seed {seed}"
    assert found.plan is not None
    cost = exact(problem, found.plan.placement, found.plan.codecs)
    assert meets_limits(judged, cost), f"seed {seed}"
    assert (cost.objective(problem.objective), cost.switches) == best, f"seed {seed}"
    assert found.bound == pytest.approx(float(best[0]), rel=1e-9), f"seed {seed}"
    return True


def test_the_best_is_found_within_limits() -> None:
    assert sum(_check(_limited(seed, most=6), seed) for seed in range(400)) > 200


def test_the_best_codecs_are_found_within_limits() -> None:
    assert sum(_check(_limited(seed, most=3, codecs=True), seed) for seed in range(300)) > 150


def test_limits_are_met_together_or_told_not_to_be() -> None:
    none = some = 0
    for seed in range(300):
        problem = _limited(seed, most=5)
        best = best_by_search(slackened(problem))
        found = search_labels(problem, problem.objective, Relaxed(None, 0.0), time.monotonic() + 60)
        if found.optimal and found.plan is None:
            none += 1
            assert best is None, f"seed {seed}"
        elif found.optimal and found.plan is not None:
            some += 1
            cost = exact(problem, found.plan.placement, found.plan.codecs)
            assert (cost.objective(problem.objective), cost.switches) == best, f"seed {seed}"
    assert none > 20
    assert some > 100


@pytest.mark.parametrize("widths", [(1, 2, 10**6), (1,)])
def test_what_is_left_out_is_counted(
    monkeypatch: pytest.MonkeyPatch, widths: tuple[int, ...]
) -> None:
    monkeypatch.setattr(label_search, "_WIDTHS", widths)
    proved = 0
    for seed in range(200):
        problem = _limited(seed, most=5)
        best = best_by_search(slackened(problem))
        if best is None or not best[0]:
            continue
        answer = _from_worst(problem)
        assert answer.plan is not None
        value = answer.plan.value(problem.objective)
        assert answer.bound <= float(best[0]) * (1 + 1e-9), f"seed {seed}"
        assert value >= float(best[0]) * (1 - 1e-9), f"seed {seed}"
        if answer.optimal:
            proved += 1
            assert value == pytest.approx(float(best[0]), rel=1e-9), f"seed {seed}"
    assert proved > 50


@pytest.mark.parametrize("measures", [1, 2, 3, 4])
def test_all_that_is_unbeaten_is_kept_and_little_else(measures: int) -> None:
    rng = np.random.default_rng(measures)
    for most in (5, 10, 1000):
        for _ in range(20):
            taken = rng.integers(0, most, (60, measures))
            unbeaten = {
                tuple(one)
                for one in taken.tolist()
                if not any(all(map(le, o, one)) and o != one for o in taken.tolist())
            }
            kept = taken[label_search._unbeaten(taken)].tolist()
            assert unbeaten <= set(map(tuple, kept))
            if measures <= 2 or most <= 10:
                assert len(kept) == len(unbeaten)


def _alike(count: int, seed: int, link: Link) -> Problem:
    """Residual blocks of layers of few kinds: a cloud that is as much faster at each of them."""
    rng = random.Random(seed)
    kinds_ms = [rng.randint(200, 400) for _ in range(6)]
    operators = []
    tensors = [Tensor("input", None, ("op0",), 1000)]
    for index in range(count):
        cloud_ms = kinds_ms[index * len(kinds_ms) // count]
        cost = SideCost(7e-3 * cloud_ms, 0.0, 0)
        operators.append(Operator(f"op{index}", cost, SideCost(1e-3 * cloud_ms)))
        reads = [f"op{later}" for later in (index + 1, index + 3) if later < count]
        readers = reads if index % 3 == 0 else reads[:1]
        tensors.append(Tensor(f"t{index}", f"op{index}", tuple(readers), 1000, not readers))
    return Problem(tuple(operators), tuple(tensors), link)


def test_layers_that_are_alike_against_exhaustive_search() -> None:
    for seed in range(4):
        problem = _alike(9, seed, Link(8e5, 8e5, 0.002))
        everything_s = sum(o.cloud.latency_s for o in problem.operators if o.cloud)
        _check(replace(problem, limits=Limits(max_cloud_s=round(0.45 * everything_s, 6))), seed)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_many_layers_that_are_alike_are_proved(share: float) -> None:
    problem = _alike(60, 1, Link(1e30, 1e30))  # a knapsack: crossing is free
    cloud_ms = [round(1e3 * o.cloud.latency_s) for o in problem.operators if o.cloud]
    room_ms = int(share * sum(cloud_ms))
    answer = solve(replace(problem, limits=Limits(max_cloud_s=room_ms / 1e3)), time_limit_s=60)
    sums = {0}
    for layer_ms in cloud_ms:
        sums |= {total + layer_ms for total in sums if total + layer_ms <= room_ms}
    assert answer.status == "optimal"
    assert answer.objective == pytest.approx(7e-3 * sum(cloud_ms) - 6e-3 * max(sums), rel=1e-9)


def test_many_layers_that_are_alike_on_a_link() -> None:
    problem = _alike(60, 1, Link(1e9, 1e9, 0.0005))
    limits = Limits(max_cloud_s=6.1234)
    answer = solve(replace(problem, limits=limits), time_limit_s=60)
    assert answer.status == "optimal"
    assert answer.cloud_s <= 6.1234
    free_s = solve(replace(_alike(60, 1, Link(1e30, 1e30)), limits=limits)).objective
    assert free_s < answer.objective <= free_s + 61 * (0.0005 / 2 + 2 * 8000 / 1e9)
