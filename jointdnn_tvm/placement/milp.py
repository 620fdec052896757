"""The optimal placement within limits, and for throughput: an integer program.

HiGHS solves it in floats; so each plan that it finds is judged by `evaluate`, and one that a limit
forbids, or that costs more than the program says, is cut off.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.evaluate import Metrics, evaluate
from jointdnn_tvm.placement.integer_program import minimise
from jointdnn_tvm.placement.linear_model import LinearModel, value_of
from jointdnn_tvm.placement.min_cut import minimum_cut
from jointdnn_tvm.placement.problem import OBJECTIVES, Problem, Side
from jointdnn_tvm.placement.solution import LIMIT_SLACK, InfeasibleError, Solution

# The costs of a plan that takes one unit: the solver's tolerances are 1e-9 of it to 1e-15.
_SCALE = 1e6
# Plans that differ by less, relative, are equal, and the one with the fewest switches is taken.
_EQUAL = 1e-10
_PROVED = 1e-9  # relative, between a plan and the bound


@dataclass(frozen=True)
class Found:
    """A plan, its value of what was to be least, and what no plan is below."""

    placement: dict[str, Side]
    codecs: dict[str, str]
    value: float
    bound: float


def solve_with_limits(problem: Problem, time_limit_s: float = 60.0) -> Solution:
    """A placement that is optimal within the limits, with the fewest switches among equal ones.

    When the time is up, the best one found, with a bound. Raises `InfeasibleError` when no
    placement meets the limits, and `ProblemError` when the time is up before one is found.
    """
    until = time.monotonic() + time_limit_s
    if problem.objective != "throughput":
        free = minimum_cut(problem)
        if within_limits(problem, evaluate(problem, free.placement, free.codecs)):
            return free
    found = least(problem, problem.objective, until)
    if found is None:
        from jointdnn_tvm.placement.clashes import find_clashes

        raise InfeasibleError(find_clashes(problem, until))
    proved = found.bound >= found.value * (1 - _PROVED)
    bound = found.value if proved else found.bound
    return Solution(found.placement, found.codecs, bound, proved, solver="milp")


def within_limits(problem: Problem, metrics: Metrics) -> bool:
    """Whether a plan meets every limit, up to `LIMIT_SLACK`."""
    return all(
        metrics.limited(name) <= limit * (1 + LIMIT_SLACK)
        for name, limit in problem.limits.active.items()
    )


def least(
    problem: Problem, target: str, until: float, at_most: float | None = None
) -> Found | None:
    """The plan within the limits that takes least of an objective, or of what a limit bounds.

    None when no plan meets the limits. Raises `ProblemError` when the time is up before one is
    found.
    """
    search = _Search(problem, target, until, at_most)
    found = search.run()
    if found is not None and at_most is None and found.value < search.model.unit / 8:
        # The unit was a bad guess: what differs by little may have been told equal.
        return least(problem, target, until, found.value) or found
    return found


class _Search:
    """Solves, judges, cuts off, and solves again."""

    def __init__(
        self, problem: Problem, target: str, until: float, at_most: float | None = None
    ) -> None:
        self.model = LinearModel(problem, target, at_most)
        self._problem, self._target, self._until = problem, target, until
        self._best: Found | None = None
        self._cut: list[dict[str, Side]] = []

    def run(self) -> Found | None:
        """The best plan; None when the limits clash."""
        toll = _SCALE * _EQUAL / (1 + len(self.model.switches))
        costs = {column: _SCALE * value for column, value in self.model.target.items()}
        for column in self.model.switches:
            costs[column] = costs.get(column, 0.0) + toll
        while True:
            left_s = self._until - time.monotonic()
            outcome = minimise(self.model.program, costs, left_s)
            bound = max(0.0, (outcome.bound / _SCALE - _EQUAL) * self.model.unit)
            if outcome.columns is None:
                if not outcome.ended and self._best is None:
                    raise ProblemError(
                        "time is up before a placement within the limits was found: "
                        "allow more time, or set fewer limits"
                    )
                return self._best
            claimed = value_of(self.model.target, outcome.columns)
            placement, codecs = self.model.plan(outcome.columns)
            metrics = evaluate(self._problem, placement, codecs)
            value = _value(metrics, self._target)
            as_told = value <= claimed * self.model.unit * (1 + _EQUAL)
            if within_limits(self._problem, metrics):
                if self._best is None or value < self._best.value * (1 - _EQUAL):
                    self._best = Found(placement, codecs, value, bound)
                if as_told or not outcome.ended:
                    return Found(placement, codecs, value, bound)
            if placement in self._cut or not self.model.spread_cut(placement):
                self.model.exclude(outcome.columns)
            self._cut.append(placement)


def _value(metrics: Metrics, target: str) -> float:
    return metrics.objective(target) if target in OBJECTIVES else metrics.limited(target)
