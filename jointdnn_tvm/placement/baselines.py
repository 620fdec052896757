"""The placements that others would choose, from the same problem and as the same answer.

A baseline is None where it cannot run: where no placement of its kind exists, or meets
the limits (DADS knows nothing of limits: None where what it chose breaks one).

Neurosurgeon (Kang et al., 2017) cuts a chain once; on a DAG it takes every position of the
execution order. DADS (Hu et al., 2019) cuts a DAG once: nothing that the cloud made, but the
outputs, comes back to the mobile.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from jointdnn_tvm.placement.evaluate import evaluate
from jointdnn_tvm.placement.fixed_codecs import best_codecs
from jointdnn_tvm.placement.min_cut import codecs_of, one_way_cut
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, Problem, Side
from jointdnn_tvm.placement.solution import broken_limits
from jointdnn_tvm.placement.solve import Answer, fixed_placement

BASELINES = ("mobile-only", "cloud-only", "neurosurgeon", "dads")


def all_baselines(problem: Problem) -> dict[str, Answer]:
    """The answer of each baseline that can run and meets the limits, by its name."""
    makers = (mobile_only, cloud_only, neurosurgeon, dads)
    answers = (make(problem) for make in makers)
    return {n: answer for n, answer in zip(BASELINES, answers, strict=True) if answer is not None}


def mobile_only(problem: Problem) -> Answer | None:
    """Every operator on the mobile."""
    return _best(problem, [len(problem.operators)], "mobile-only")


def cloud_only(problem: Problem) -> Answer | None:
    """Every operator on the cloud, each input and output by its cheapest codec."""
    return _best(problem, [0], "cloud-only")


def neurosurgeon(problem: Problem) -> Answer | None:
    """The best single cut of the execution order: first the mobile, then the cloud."""
    return _best(problem, range(len(problem.operators) + 1), "neurosurgeon")


def dads(problem: Problem) -> Answer | None:
    """The best one-way cut; for throughput, that of least latency."""
    started = time.perf_counter()
    objective = "energy" if problem.objective == "energy" else "latency"
    solution = one_way_cut(replace(problem, objective=objective))
    if solution is None:
        return None
    if broken_limits(problem.limits, evaluate(problem, solution.placement, solution.codecs)):
        return None
    codecs = codecs_of(problem, solution.placement)
    return _answer(problem, solution.placement, codecs, "dads", started)


def _best(problem: Problem, positions: Iterable[int], name: str) -> Answer | None:
    """The best of the placements with so many operators on the mobile, and then the cloud."""
    started = time.perf_counter()
    placements = [p for p in (_split(problem, at) for at in positions) if p is not None]
    costs = []
    for index, placement in enumerate(placements):
        codecs = codecs_of(problem, placement)
        metrics = evaluate(problem, placement, codecs)
        most_error = problem.limits.max_error
        if most_error is not None and metrics.error > most_error:
            codecs = best_codecs(problem, placement)  # the cheapest lose too much
            metrics = evaluate(problem, placement, codecs)
        if not broken_limits(problem.limits, metrics):
            costs.append((metrics.objective(problem.objective), metrics.switches, index, codecs))
    if not costs:
        return None
    *_, index, codecs = min(costs, key=lambda cost: cost[:3])
    return _answer(problem, placements[index], codecs, name, started)


def _split(problem: Problem, position: int) -> dict[str, Side] | None:
    sides: dict[str, Side] = {
        o.name: MOBILE if index < position else CLOUD for index, o in enumerate(problem.operators)
    }
    runs = all(o.cost(sides[o.name]) is not None for o in problem.operators)
    return sides if runs else None


def _answer(
    problem: Problem,
    placement: dict[str, Side],
    codecs: dict[str, str],
    name: str,
    started: float,
) -> Answer:
    answer = fixed_placement(problem, placement, codecs)
    return replace(answer, solver=name, solve_s=time.perf_counter() - started)
