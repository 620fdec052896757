"""A plan that a solver found, with what it takes by the definition (`evaluate`)."""

from __future__ import annotations

from dataclasses import dataclass

from jointdnn_tvm.placement.evaluate import Metrics, evaluate
from jointdnn_tvm.placement.problem import OBJECTIVES, Limits, Problem, Side
from jointdnn_tvm.placement.solution import broken_limits

EQUAL = 1e-10
"""Relative: plans that differ by less are equal, and the fewest switches decide."""


@dataclass(frozen=True)
class JudgedPlan:
    """A placement, the codecs of what may cross, and what it takes."""

    placement: dict[str, Side]
    codecs: dict[str, str]
    metrics: Metrics

    def value(self, target: str) -> float:
        """What it takes of an objective, or of what a limit bounds."""
        if target in OBJECTIVES:
            return self.metrics.objective(target)
        return self.metrics.limited(target)

    def within(self, limits: Limits) -> bool:
        """Whether it meets every limit, up to `LIMIT_SLACK`."""
        return not broken_limits(limits, self.metrics)


def judge(problem: Problem, placement: dict[str, Side], codecs: dict[str, str]) -> JudgedPlan:
    """The plan, with what it takes."""
    return JudgedPlan(placement, codecs, evaluate(problem, placement, codecs))
