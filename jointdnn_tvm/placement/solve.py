"""Solve a placement problem, or judge a given placement: one answer format for both."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jointdnn_tvm.placement.evaluate import evaluate
from jointdnn_tvm.placement.min_cut import minimum_cut
from jointdnn_tvm.placement.problem import Problem, Side, check_sides


@dataclass(frozen=True)
class Answer:
    """A placement, what it costs (s, J, bytes), and the proof of how good it is.

    ``status`` is ``optimal`` when ``objective`` equals the lower ``bound``, to 1e-9 relative, and
    ``feasible`` for a placement that nothing is proved about (``bound`` is then None).
    ``codecs`` names how each tensor that crosses is encoded.
    """

    status: str
    objective: float
    bound: float | None
    latency_s: float
    energy_j: float
    cloud_s: float
    mobile_bytes: float
    error: float
    bottleneck_s: float
    switches: int
    placement: dict[str, Side]
    codecs: dict[str, str]
    solver: str
    solve_s: float

    def to_json(self) -> dict[str, Any]:
        """The answer as a document of plain JSON types."""
        return asdict(self)


def solve(problem: Problem) -> Answer:
    """The optimal placement; among equal optima one with the fewest switches."""
    started = time.perf_counter()
    placement, bound = minimum_cut(problem)
    return _answer(problem, placement, "optimal", bound, "min-cut", started)


def fixed_placement(problem: Problem, placement: Mapping[str, str]) -> Answer:
    """What a given placement costs; raises `ProblemError` when it is incomplete or cannot run."""
    started = time.perf_counter()
    return _answer(problem, check_sides(problem, placement), "feasible", None, "fixed", started)


def all_on(problem: Problem, side: Side) -> Answer | None:
    """The answer with every operator on one side, or None where some operator cannot run."""
    if any(operator.cost(side) is None for operator in problem.operators):
        return None
    return fixed_placement(problem, {operator.name: side for operator in problem.operators})


def _answer(
    problem: Problem,
    placement: dict[str, Side],
    status: str,
    bound: float | None,
    solver: str,
    started: float,
) -> Answer:
    metrics = evaluate(problem, placement)
    return Answer(
        status=status,
        objective=metrics.objective(problem.objective),
        bound=bound,
        latency_s=metrics.latency_s,
        energy_j=metrics.energy_j,
        cloud_s=metrics.cloud_s,
        mobile_bytes=metrics.mobile_bytes,
        error=metrics.error,
        bottleneck_s=metrics.bottleneck_s,
        switches=metrics.switches,
        placement=placement,
        codecs=dict.fromkeys(metrics.up + metrics.down, "none"),
        solver=solver,
        solve_s=time.perf_counter() - started,
    )
