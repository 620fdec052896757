"""Chains with costs of whole runs against exhaustive search, and the paper's shortest path."""

from __future__ import annotations

from dataclasses import replace

import networkx
import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import SIDES, InfeasibleError, Limits, Problem, solve
from jointdnn_tvm.placement.chain import solve_chain
from jointdnn_tvm.placement.solution import LIMIT_SLACK
from tests.check_clashes import check_clashes
from tests.exhaustive import best_by_search, exact, meets_limits
from tests.random_problems import random_problem, with_blocks, with_limits

OBJECTIVES = ("latency", "energy", "throughput")


def slackened(problem: Problem) -> Problem:
    """The problem with limits as loose as a solver may take them."""
    limits = {name: value * (1 + LIMIT_SLACK) for name, value in problem.limits.active.items()}
    sigmas = problem.limits.latency_sigmas
    return replace(problem, limits=Limits(**limits, latency_sigmas=sigmas))


def _random_chain(seed: int, *, limits: bool, codecs: bool) -> Problem:
    problem = random_problem(
        seed,
        most=3 if codecs else 6,
        objectives=OBJECTIVES,
        codecs=codecs,
        chain=True,
        spreads=seed % 2 == 0,
        carried=seed % 3 == 0,
    )
    problem = with_blocks(problem, seed)
    return with_limits(problem, seed) if limits else problem


@pytest.mark.parametrize("codecs", [False, True])
@pytest.mark.parametrize("limits", [False, True])
@pytest.mark.parametrize("part", range(2))
def test_the_chain_is_the_best_of_all_placements(part: int, limits: bool, codecs: bool) -> None:
    for seed in range(part * 200, (part + 1) * 200):
        problem = _random_chain(seed, limits=limits, codecs=codecs)
        judge = slackened(problem)
        best = best_by_search(judge)
        if best is None:
            with pytest.raises(InfeasibleError) as caught:
                solve_chain(problem)
            check_clashes(problem, caught.value, seed)
            continue
        solution = solve_chain(problem)
        cost = exact(problem, solution.placement, solution.codecs)
        assert meets_limits(judge, cost), f"seed {seed}"
        assert (cost.objective(problem.objective), cost.switches) == best, f"seed {seed}"
        assert solution.bound == pytest.approx(float(best[0]), rel=1e-12, abs=0), f"seed {seed}"


def test_the_chain_is_the_papers_shortest_path() -> None:
    for seed in range(60):
        problem = random_problem(seed, most=9, objectives=("latency",), chain=True)
        problem = with_blocks(problem, seed)
        assert solve(problem).objective == pytest.approx(_dijkstra(problem), rel=1e-9, abs=1e-12)


def _dijkstra(problem: Problem) -> float:
    """The shortest path over the nodes M(i:j) and C(i:j)."""
    names = [o.name for o in problem.operators]
    blocks = {(b.side, b.first, b.last): b.latency_s for b in problem.blocks}
    graph: networkx.DiGraph = networkx.DiGraph()
    link = problem.link

    def crossing(first: int, side: str) -> float:
        """Seconds before a run on a side, which starts after one on the other."""
        total = 0.0
        if first or (side == "cloud" and problem.starts_on_mobile):
            total += link.rtt_s / 2
        for t in problem.tensors:
            if names[first] not in t.consumers or (t.producer is None and side == "mobile"):
                continue
            if side == "cloud":
                total += link.upload_s(t.size_bytes)
            elif not (t.output and problem.ends_on_mobile):  # else its producer's run paid
                total += link.download_s(t.size_bytes)
        return total

    for side in SIDES:
        for first in range(len(names)):
            for last in range(first, len(names)):
                run = problem.operators[first : last + 1]
                costs = [o.cost(side) for o in run]
                if any(cost is None for cost in costs):
                    continue
                seconds = sum(cost.latency_s for cost in costs if cost is not None)
                seconds = blocks.get((side, names[first], names[last]), seconds)
                if side == "cloud" and problem.ends_on_mobile:
                    made = {o.name for o in run}
                    seconds += sum(
                        link.download_s(t.size_bytes)
                        for t in problem.tensors
                        if t.output and t.producer in made
                    )
                    seconds += link.rtt_s / 2 if last + 1 == len(names) else 0.0
                node = (side, first, last)
                graph.add_edge(("in", *node), ("out", *node), weight=seconds)
                if first == 0:
                    graph.add_edge("start", ("in", *node), weight=crossing(0, side))
                if last + 1 == len(names):
                    graph.add_edge(("out", *node), "end", weight=0.0)
                other = "mobile" if side == "cloud" else "cloud"
                for end in range(last + 1, len(names)):
                    after = ("in", other, last + 1, end)
                    graph.add_edge(("out", *node), after, weight=crossing(last + 1, other))
    return float(networkx.dijkstra_path_length(graph, "start", "end"))


def test_no_time_is_one_clear_line() -> None:
    problem = with_blocks(random_problem(3, chain=True), 3)
    with pytest.raises(ProblemError, match="time is up before the chain was solved"):
        solve_chain(problem, time_limit_s=-1.0)


def test_branches_are_refused() -> None:
    seed = next(s for s in range(100) if not random_problem(s, chain=False).is_chain)
    with pytest.raises(ProblemError, match="not a chain"):
        solve_chain(random_problem(seed, chain=False))
