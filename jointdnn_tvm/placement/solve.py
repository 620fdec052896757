"""Solve a placement problem, or judge a given placement: one answer format for both."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jointdnn_tvm.placement.chain import solve_chain
from jointdnn_tvm.placement.check_problem import check_sides
from jointdnn_tvm.placement.evaluate import evaluate
from jointdnn_tvm.placement.milp import solve_with_limits
from jointdnn_tvm.placement.min_cut import minimum_cut
from jointdnn_tvm.placement.problem import PLAIN, Problem, Side
from jointdnn_tvm.placement.solution import Solution


@dataclass(frozen=True)
class Answer:
    """A placement, what it costs (s, J, bytes), and the proof of how good it is.

    ``status`` is ``optimal`` when ``objective`` equals the lower ``bound``, to 1e-9 relative, and
    ``feasible`` when that is not proved (``bound`` is None where nothing is known of it).
    ``codecs`` names how each tensor that crosses is encoded.
    """

    status: str
    objective: float
    bound: float | None
    latency_s: float
    deadline_s: float
    energy_j: float
    cloud_s: float
    mobile_bytes: float
    mobile_peak_bytes: float
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


def solve(problem: Problem, time_limit_s: float = 60.0) -> Answer:
    """The optimal placement within all limits; among equal optima one with the fewest switches.

    Only limits and throughput can need the time; when it is up the answer is the best placement
    found, with a bound. Raises `InfeasibleError` when no placement meets the limits, and
    `ProblemError` when the time is up before one is found, or before a chain
    with blocks is solved.
    """
    started = time.perf_counter()
    if problem.blocks:
        solution = solve_chain(problem, time_limit_s)
    elif problem.limits.active or problem.objective == "throughput":
        solution = solve_with_limits(problem, time_limit_s)
    else:
        solution = minimum_cut(problem)
    return _answer(problem, solution, started)


def fixed_placement(
    problem: Problem, placement: Mapping[str, str], codecs: Mapping[str, str] | None = None
) -> Answer:
    """What a given placement costs; raises `ProblemError` when it is incomplete or cannot run."""
    started = time.perf_counter()
    given = Solution(check_sides(problem, placement), dict(codecs or {}), None, False, "fixed")
    return _answer(problem, given, started)


def _answer(problem: Problem, solution: Solution, started: float) -> Answer:
    metrics = evaluate(problem, solution.placement, solution.codecs)
    return Answer(
        status="optimal" if solution.proved else "feasible",
        objective=metrics.objective(problem.objective),
        bound=solution.bound,
        latency_s=metrics.latency_s,
        deadline_s=metrics.deadline_s,
        energy_j=metrics.energy_j,
        cloud_s=metrics.cloud_s,
        mobile_bytes=metrics.mobile_bytes,
        mobile_peak_bytes=metrics.mobile_peak_bytes,
        error=metrics.error,
        bottleneck_s=metrics.bottleneck_s,
        switches=metrics.switches,
        placement=solution.placement,
        codecs={name: solution.codecs.get(name, PLAIN) for name in metrics.up + metrics.down},
        solver=solution.solver,
        solve_s=time.perf_counter() - started,
    )
