"""Which limits clash, and how far each would have to be raised."""

from __future__ import annotations

from dataclasses import replace

from jointdnn_tvm.placement.milp import least
from jointdnn_tvm.placement.problem import Limits, Problem
from jointdnn_tvm.placement.solution import Clash


def find_clashes(problem: Problem, until: float) -> list[Clash]:
    """Limits that clash, while all but any one of them can be met, of a problem that none meets.

    Raises `ProblemError` when the clock is past ``until`` (of `time.monotonic`).
    """
    clashing = dict(problem.limits.active)
    least_values: dict[str, float] = {}
    for name in problem.limits.active:
        found = _least(problem, clashing, name, until)
        if found is None:
            del clashing[name]
            least_values = {}  # they were found with this limit
        else:
            least_values[name] = found
    return [
        Clash(name, value, least_values.get(name) or _needed(problem, clashing, name, until))
        for name, value in clashing.items()
    ]


def _needed(problem: Problem, limits: dict[str, float], name: str, until: float) -> float:
    found = _least(problem, limits, name, until)
    assert found is not None, "each of the clashing limits is needed for the clash"
    return found


def _least(problem: Problem, limits: dict[str, float], name: str, until: float) -> float | None:
    """The least value of a limit within the others; None when they clash without it."""
    others = {other: value for other, value in limits.items() if other != name}
    sigmas = problem.limits.latency_sigmas
    found = least(replace(problem, limits=Limits(**others, latency_sigmas=sigmas)), name, until)
    return None if found is None else found.value
