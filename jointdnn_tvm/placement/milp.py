"""The optimal placement within limits, and for throughput: an integer program.

Most need none: what prices tell (`lagrangian`), or labels (`label_search`), is proved first.
HiGHS solves it in floats; so each plan that it finds is judged by `evaluate`, and one that a limit
forbids, or that costs more than the program says, is cut off.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.integer_program import Outcome, minimise, value_of
from jointdnn_tvm.placement.judged_plan import EQUAL, JudgedPlan, judge
from jointdnn_tvm.placement.label_search import search_labels
from jointdnn_tvm.placement.lagrangian import Relaxed, relax
from jointdnn_tvm.placement.linear_model import LinearModel
from jointdnn_tvm.placement.min_cut import minimum_cut
from jointdnn_tvm.placement.problem import Problem
from jointdnn_tvm.placement.solution import InfeasibleError, Solution

_SCALE = 1e6  # what a plan that takes one unit costs: the solver's tolerances are absolute
_PROVED = 1e-9  # relative, between a plan and the bound
_ROUNDS = 20


class OutOfTimeError(ProblemError):
    """The time is up, and nothing can be told yet."""


class Found(NamedTuple):
    """A plan, what no plan within the limits is below, and what found it."""

    plan: JudgedPlan
    bound: float
    solver: str

    def is_proved(self, target: str) -> bool:
        """Whether the plan takes least of the target."""
        return self.bound >= self.plan.value(target) * (1 - _PROVED)


def solve_with_limits(problem: Problem, time_limit_s: float = 60.0) -> Solution:
    """A placement that is optimal within the limits, with the fewest switches among equal ones.

    When the time is up, the best one found, with a bound. Raises `InfeasibleError` when no
    placement meets the limits, and `ProblemError` when the time is up before that, or a placement
    within them, is found.
    """
    until = time.monotonic() + time_limit_s
    if problem.objective != "throughput":
        free = minimum_cut(problem)
        if judge(problem, free.placement, free.codecs).within(problem.limits):
            return free
    found = least(problem, problem.objective, until)
    if found is None:
        from jointdnn_tvm.placement.clashes import find_clashes

        raise InfeasibleError(find_clashes(problem, until))
    plan, proved = found.plan, found.is_proved(problem.objective)
    bound = plan.value(problem.objective) if proved else found.bound
    return Solution(plan.placement, plan.codecs, bound, proved, found.solver)


def least(problem: Problem, target: str, until: float) -> Found | None:
    """The plan within the limits that takes least of an objective, or of what a limit bounds.

    None when no plan meets the limits. Raises `OutOfTimeError` when the time is up (of the clock
    `time.monotonic`) before one is found.
    """
    known, solver = relax(problem, target, until), "prices"
    if not known.optimal:
        known, solver = search_labels(problem, target, known, until), "labels"
    if known.optimal:
        return None if known.plan is None else Found(known.plan, known.bound, solver)
    search = _Search(problem, target, until, known)
    found = search.run()
    if found is not None and found.plan.value(target) < search.unit / 8:
        # The unit was a bad guess: plans that differ by little may have been told equal.
        found = _Search(problem, target, until, Relaxed(found.plan, found.bound)).run()
    return found


class _Search:
    """Solves, judges, cuts off, and solves again."""

    def __init__(self, problem: Problem, target: str, until: float, known: Relaxed) -> None:
        self._problem, self._target, self._until = problem, target, until
        self._best, self._bound = known.plan, known.bound
        at_most = None if known.plan is None else known.plan.value(target)
        self._model = LinearModel(problem, target, at_most)
        self._costs = {column: _SCALE * value for column, value in self._model.target.items()}
        toll = _SCALE * EQUAL / (1 + len(self._model.switches))
        for column in self._model.switches:
            self._costs[column] = self._costs.get(column, 0.0) + toll

    @property
    def unit(self) -> float:
        """What the target is counted in."""
        return self._model.unit

    def run(self) -> Found | None:
        """The best plan; None when the limits clash."""
        if self._model.spreads:
            self._approach()
        start = None
        if self._best is not None:
            start = self._model.start(self._best.placement, self._best.codecs)
        while not self._is_last(self._solve(start)):
            pass
        return None if self._best is None else Found(self._best, self._bound, "milp")

    def _approach(self) -> None:
        """Tell what the standard deviation is near the best fractions: these are quickly found."""
        for _ in range(_ROUNDS):
            outcome = self._solve(None, relaxed=True)
            if outcome.columns is None or not self._model.spread_cut(outcome.columns):
                break

    def _solve(self, start: Mapping[int, float] | None, *, relaxed: bool = False) -> Outcome:
        left_s = self._until - time.monotonic()
        return minimise(self._model.program, self._costs, left_s, start, relaxed=relaxed)

    def _is_last(self, outcome: Outcome) -> bool:
        """Take note of what was found; if it is not the last, it is cut off."""
        self._bound = max(self._bound, (outcome.bound / _SCALE - EQUAL) * self.unit)
        if outcome.columns is None:
            if outcome.ended and self._best is not None:
                self._bound = self._best.value(self._target)  # all others were cut off
            return outcome.ended or self._in_time()
        plan = judge(self._problem, *self._model.plan(outcome.columns))
        value = plan.value(self._target)
        within = plan.within(self._problem.limits)
        if within:
            self._best = self._better(plan)
        if not outcome.ended:
            return self._in_time()
        claimed = value_of(self._model.target, outcome.columns) * self.unit
        if within and value <= claimed * (1 + EQUAL):
            return True
        if self._best is not None and self._best.value(self._target) <= claimed:
            return True
        if not self._model.spread_cut(outcome.columns):
            self._model.exclude(outcome.columns)
        return False

    def _better(self, plan: JudgedPlan) -> JudgedPlan:
        """The better of a plan and the best so far."""
        if self._best is None:
            return plan
        value, best = plan.value(self._target), self._best.value(self._target)
        if abs(value - best) <= EQUAL * best:
            fewer = plan.metrics.switches <= self._best.metrics.switches
            return plan if fewer else self._best
        return plan if value < best else self._best

    def _in_time(self) -> bool:
        """True once the time is up; raises `OutOfTimeError` when nothing was found by then."""
        if self._best is None:
            raise OutOfTimeError(
                "time is up before a placement within the limits was found: "
                "allow more time, or set fewer limits"
            )
        return True
