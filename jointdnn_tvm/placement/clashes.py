"""Which limits clash, and how far each would have to be raised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.milp import OutOfTimeError, least
from jointdnn_tvm.placement.problem import Limits, Problem
from jointdnn_tvm.placement.solution import Clash


def find_clashes(problem: Problem, until: float) -> list[Clash]:
    """Limits that clash, while all but any one of them can be met, of a problem that none meets.

    Raises `ProblemError` when the time is up (of the clock `time.monotonic`).
    """
    clashing = dict(problem.limits.active)
    needed: dict[str, float] = {}
    try:
        for name in problem.limits.active:
            value = _least(problem, clashing, name, until)
            if value is None:
                del clashing[name]
                needed = {}  # these were found with that limit
            else:
                needed[name] = value
        for name in clashing.keys() - needed.keys():
            value = _least(problem, clashing, name, until)
            assert value is not None, "each of the clashing limits is needed for the clash"
            needed[name] = value
    except OutOfTimeError as error:
        raise ProblemError(
            "no placement meets the limits, but the time was up before it was clear which of them "
            "clash: allow more time, or set fewer limits"
        ) from error
    return [Clash(name, value, needed[name]) for name, value in clashing.items()]


def _least(problem: Problem, limits: Mapping[str, float], name: str, until: float) -> float | None:
    """The least value of a limit within the others; None when they clash without it."""
    others = {other: value for other, value in limits.items() if other != name}
    sigmas = problem.limits.latency_sigmas
    alone = replace(problem, limits=Limits(**others, latency_sigmas=sigmas))
    found = least(alone, name, until)
    if found is None:
        return None
    if not found.is_proved(name):
        raise OutOfTimeError("a least value is not proved")
    return found.plan.value(name)
