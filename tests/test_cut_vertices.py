"""Branchy graphs as chains of segments, judged by search over whole segments."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import InfeasibleError, Limits, Problem, solve
from jointdnn_tvm.placement.cut_vertices import Segments, between_cut_vertices
from jointdnn_tvm.placement.lazy_blocks import Run, solve_lazily
from jointdnn_tvm.targets import load_link
from tests.exhaustive import every_choice, exact, meets_limits
from tests.network_problems import light_graph, modelled_problem
from tests.random_problems import LIMITS, random_problem, slackened, with_limits

NO_PEAK = [name for name in LIMITS if name != "max_mobile_peak_bytes"]


def narrowed(seed: int, *, codecs: bool = False, spreads: bool = False) -> Problem:
    """Tensors that end early, so that some graphs are narrow somewhere in the middle."""
    problem = random_problem(
        seed,
        chain=False,
        most=5 if codecs else 7,
        codecs=codecs,
        spreads=spreads,
        carried=seed % 4 == 0,
    )
    waist = random.Random(seed).randrange(1, len(problem.operators) + 1)
    order = problem.positions
    tensors = []
    for tensor in problem.tensors:
        if tensor.carried:  # by each operator for itself
            near = [name for name in tensor.consumers if name == tensor.producer]
            tensors.append(replace(tensor, consumers=tuple(near)))
            continue
        made = -1 if tensor.producer is None else order[tensor.producer]
        near = [
            c for c in tensor.consumers if made == waist - 1 or made >= waist or order[c] < waist
        ]
        if near or tensor.output or tensor.producer is not None:
            output = tensor.output or (not near and tensor.producer is not None)
            tensors.append(replace(tensor, consumers=tuple(near), output=output))
    return replace(problem, tensors=tuple(tensors))


def reduced(problem: Problem) -> Segments | None:
    """None where a segment can run nowhere."""
    try:
        return between_cut_vertices(problem)
    except ProblemError:
        return None


@pytest.mark.parametrize("codecs", [False, True])
@pytest.mark.parametrize("limited", [False, True])
def test_the_chain_is_the_best_of_all_that_keep_segments_whole(codecs: bool, limited: bool) -> None:
    in_parts = infeasible = nowhere = 0
    for seed in range(100):
        problem = narrowed(seed, codecs=codecs, spreads=limited)
        problem = with_limits(problem, seed, names=NO_PEAK) if limited else problem
        if (segments := reduced(problem)) is None:
            nowhere += 1
            continue
        assert segments.problem.is_chain
        in_parts += 1 < len(segments.members) < len(problem.operators)
        loose = slackened(problem)
        whole = [
            cost
            for sides, _, cost in every_choice(problem)
            if all(len({sides[n] for n in names}) == 1 for names in segments.members.values())
            and meets_limits(loose, cost)
        ]
        try:
            answer = solve(segments.problem)
        except InfeasibleError:
            infeasible += 1
            assert not whole, f"seed {seed}"
            continue
        best = min(cost.objective(problem.objective) for cost in whole)
        assert answer.objective == pytest.approx(float(best), rel=1e-9, abs=1e-15), f"seed {seed}"
        found = exact(problem, segments.placement(answer.placement), answer.codecs)
        assert float(found.latency) == pytest.approx(answer.latency_s, rel=1e-9, abs=1e-15)
        assert float(found.energy) == pytest.approx(answer.energy_j, rel=1e-9, abs=1e-15)
    assert in_parts > 10
    assert nowhere < 20
    assert infeasible > 2 or not limited


def test_a_chain_stays_as_it_is() -> None:
    problem = random_problem(3, chain=True)
    segments = between_cut_vertices(problem)
    assert segments.problem is problem
    sides = solve(problem).placement
    assert segments.placement(sides) == sides


def test_real_networks_fall_into_segments_whose_runs_can_be_measured() -> None:
    graph, link = light_graph("inception_v1"), load_link("huang2012-wifi")
    problem = modelled_problem(graph, link, "latency", 1)
    segments = between_cut_vertices(problem)
    names = [name for members in segments.members.values() for name in members]
    assert names == [operator.name for operator in problem.operators]
    assert 10 < len(segments.members) < len(names)
    operators = segments.problem.operators

    def measure(runs: Sequence[Run]) -> list[float]:
        """Runs take nine tenths of their operators' sum."""
        seconds = []
        for side, first, last in runs:
            start, end = (segments.problem.positions[name] for name in (first, last))
            costs = [operator.cost(side) for operator in operators[start : end + 1]]
            seconds.append(0.9 * sum(cost.latency_s for cost in costs if cost is not None))
        return seconds

    lazy = solve_lazily(segments.problem, measure, lower=0.9)
    assert lazy.answer.objective <= solve(segments.problem).objective
    assert 0 < lazy.measured < 20


def test_what_segments_cannot_tell_is_refused() -> None:
    problem = random_problem(1, chain=False)
    limited = replace(problem, limits=Limits(max_mobile_peak_bytes=1e9))
    with pytest.raises(ProblemError, match="remove max_mobile_peak_bytes"):
        between_cut_vertices(limited)
