"""The Pareto front of latency against the mobile's energy, or against the cloud's time.

A placement is on the front when none is better in one and as good in the other. Some are optimal
for a weighted sum of both: minimum cuts find these, each between two that are known (the
recursion of Eisner and Severance, 1976). All others lie in the triangles between neighbours: there
a point is the plan that takes least of the other measure among those faster than so much (the
epsilon-constraint method; Haimes, 1971).
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.clashes import find_clashes
from jointdnn_tvm.placement.judged_plan import JudgedPlan
from jointdnn_tvm.placement.milp import OutOfTimeError, least
from jointdnn_tvm.placement.priced_cut import PricedCut
from jointdnn_tvm.placement.problem import Problem
from jointdnn_tvm.placement.solution import InfeasibleError

_LIMIT_OF = {"energy": "max_energy_j", "cloud": "max_cloud_s"}
_COARSE = 0.1  # of the front's width: wider gaps are halved first
_EQUAL = 1e-8  # relative: values that differ by less are equal; limits are met to 1e-9


@dataclass(frozen=True)
class ParetoFront:
    """Plans from the fastest on, each slower than the one before and taking less of ``other``.

    What is proved: no placement is more than ``slack_s`` faster than a plan here that takes no
    more of the other measure. It is 0 when the front is whole.
    """

    other: str
    plans: tuple[JudgedPlan, ...]
    slack_s: float

    def to_json(self) -> dict[str, Any]:
        """The front as a document of plain JSON types."""
        return {
            "other": self.other,
            "slack_s": self.slack_s,
            "plans": [
                {
                    "latency_s": plan.metrics.latency_s,
                    "energy_j": plan.metrics.energy_j,
                    "cloud_s": plan.metrics.cloud_s,
                    "switches": plan.metrics.switches,
                    "placement": plan.placement,
                    "codecs": {
                        name: plan.codecs.get(name, "none")
                        for name in plan.metrics.up + plan.metrics.down
                    },
                }
                for plan in self.plans
            ],
        }


def pareto_front(
    problem: Problem, other: str = "energy", *, resolution: float = 0.0, time_limit_s: float = 60.0
) -> ParetoFront:
    """The front of latency against ``other``: energy (J of the mobile) or cloud (s on the cloud).

    With a ``resolution``, plans that are faster than the next by less than that part of the
    front's width in latency are left out. Raises `ProblemError` for blocks and for limits on
    either measure, and when the time is up before both ends of the front are known.
    """
    if other not in _LIMIT_OF:
        raise ProblemError(f"there is no front against {other!r}: use {' or '.join(_LIMIT_OF)}")
    limits = problem.limits
    if problem.blocks or limits.max_latency_s is not None or _LIMIT_OF[other] in limits.active:
        raise ProblemError(
            f"a front of latency and {other} cannot hold blocks or limits on them: remove them"
        )
    return _Front(problem, other, time.monotonic() + time_limit_s).found(resolution)


class _Gap(NamedTuple):
    """What is slower than ``above_s``, faster than one plan, and takes less than another.

    The widest gap in latency comes first in order.
    """

    negative_width_s: float
    above_s: float
    faster: JudgedPlan
    slower: JudgedPlan

    @property
    def width_s(self) -> float:
        """How much faster than the slower plan something in it may be."""
        return -self.negative_width_s

    @staticmethod
    def of(above_s: float, faster: JudgedPlan, slower: JudgedPlan) -> _Gap:
        """What is left above a latency, up to which the faster plan takes least."""
        return _Gap(above_s - _latency(slower), above_s, faster, slower)

    @staticmethod
    def between(faster: JudgedPlan, slower: JudgedPlan) -> _Gap:
        """All that is between two plans."""
        return _Gap.of(_latency(faster), faster, slower)


class _Front:
    """What lies between two plans of the front."""

    def __init__(self, problem: Problem, other: str, until: float) -> None:
        self._problem = replace(problem, limits=replace(problem.limits, latency_sigmas=0.0))
        self._other, self._limit, self._until = other, _LIMIT_OF[other], until

    def found(self, resolution: float) -> ParetoFront:
        """The front, as far as the time allows."""
        fastest = self._fastest()
        thriftiest = self._thriftiest()
        if self._taken(fastest) <= self._taken(thriftiest) * (1 + _EQUAL):
            return ParetoFront(self._other, (fastest,), 0.0)
        width_s = _latency(thriftiest) - _latency(fastest)
        step_s, coarse_s = resolution * width_s, _COARSE * width_s
        plans = [fastest, *self._supported(fastest, thriftiest), thriftiest]
        gaps = [_Gap.between(faster, slower) for faster, slower in pairwise(plans)]
        heapq.heapify(gaps)
        slack_s = step_s
        while gaps:
            gap = heapq.heappop(gaps)
            try:
                plan, smaller = self._look_into(gap, step_s, coarse_s)
            except OutOfTimeError:
                slack_s = max(step_s, gap.width_s)  # the widest of those left
                break
            plans += [plan] if plan is not None else []
            for one in smaller:
                heapq.heappush(gaps, one)
        return ParetoFront(self._other, tuple(sorted(plans, key=_latency)), slack_s)

    def _fastest(self) -> JudgedPlan:
        least_s = self._least({}, "latency")
        return self._least({"max_latency_s": _latency(least_s)}, self._limit)

    def _thriftiest(self) -> JudgedPlan:
        least_taken = self._least({}, self._limit)
        return self._least({self._limit: self._taken(least_taken)}, "latency")

    def _supported(self, fastest: JudgedPlan, thriftiest: JudgedPlan) -> list[JudgedPlan]:
        """The plans between two that are optimal for a weighted sum, which limits leave none of."""
        if self._problem.limits.active:
            return []
        prices = PricedCut(self._problem)

        def between(faster: JudgedPlan, slower: JudgedPlan) -> list[JudgedPlan]:
            saved_s = _latency(slower) - _latency(faster)
            saved = self._taken(faster) - self._taken(slower)

            def cost(plan: JudgedPlan) -> float:
                return _latency(plan) / saved_s + self._taken(plan) / saved

            plan, _ = prices.cut({"latency": 1 / saved_s, self._other: 1 / saved})
            if cost(plan) >= cost(faster) * (1 - _EQUAL) or time.monotonic() > self._until:
                return []
            return [*between(faster, plan), plan, *between(plan, slower)]

        return between(fastest, thriftiest)

    def _look_into(
        self, gap: _Gap, step_s: float, coarse_s: float
    ) -> tuple[JudgedPlan | None, list[_Gap]]:
        """A plan in a gap, if there is one, and the smaller gaps that are left of it.

        A wide gap is halved. In others the slowest plan is found: then nothing is left above it.
        """
        _, above_s, faster, slower = gap
        top_s = min(_latency(slower) * (1 - _EQUAL), _latency(slower) - step_s)
        halved = gap.width_s > max(coarse_s, 2 * step_s)
        most_s = above_s + gap.width_s / 2 if halved else top_s
        if most_s <= above_s * (1 + _EQUAL):
            return None, []
        plan = self._least({"max_latency_s": most_s}, self._limit)
        if self._taken(plan) >= self._taken(faster) * (1 - _EQUAL):
            return None, [_Gap.of(most_s, faster, slower)] if halved else []
        plan = self._least({self._limit: self._taken(plan)}, "latency")
        left = [_Gap.of(above_s, faster, plan)]
        return plan, [*left, _Gap.of(most_s, plan, slower)] if halved else left

    def _least(self, limits: Mapping[str, float], target: str) -> JudgedPlan:
        problem = replace(self._problem, limits=replace(self._problem.limits, **limits))
        found = least(problem, target, self._until)
        if found is None:
            raise InfeasibleError(find_clashes(problem, self._until))
        if not found.is_proved(target):
            raise OutOfTimeError("time is up before the front was found: allow more time")
        return found.plan

    def _taken(self, plan: JudgedPlan) -> float:
        return plan.value(self._limit)


def _latency(plan: JudgedPlan) -> float:
    return plan.metrics.latency_s
