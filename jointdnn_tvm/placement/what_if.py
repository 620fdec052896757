"""The optimal plan at half and at twice each condition of the link and the cloud, solved anew.

With limits, blocks or for throughput a plan is no linear function over a set of plans that stays
the same, so nothing tells where exactly the optimal one changes: these are samples of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.conditions import CONDITIONS, present_value, with_value
from jointdnn_tvm.placement.evaluate import evaluate
from jointdnn_tvm.placement.problem import Problem, Side
from jointdnn_tvm.placement.solution import InfeasibleError, broken_limits
from jointdnn_tvm.placement.solve import Answer, solve

_FACTORS = (0.5, 2.0)
_EQUAL = 1e-9


@dataclass(frozen=True)
class Sample:
    """The best plan at one ``value`` of a condition, while the others stay as they are.

    ``objective`` (s or J), ``placement`` and ``codecs`` are None where there is no plan:
    ``why_not`` says that limits clash, or that the time was up. ``proved`` says that there is none
    better, and ``this_plan`` that the answer which is explained is as good there.
    """

    value: float
    objective: float | None = None
    proved: bool = False
    this_plan: bool = False
    placement: dict[str, Side] | None = None
    codecs: dict[str, str] | None = None
    why_not: str | None = None


def what_if(problem: Problem, answer: Answer, time_limit_s: float) -> dict[str, tuple[Sample, ...]]:
    """Samples of each condition that is not 0; ``time_limit_s`` is for each of them."""
    return {
        condition: tuple(
            _sample(problem, answer, condition, factor * present, time_limit_s)
            for factor in _FACTORS
        )
        for condition in CONDITIONS
        if (present := present_value(problem, condition))
    }


def _sample(
    problem: Problem, answer: Answer, condition: str, value: float, time_limit_s: float
) -> Sample:
    moved = with_value(problem, condition, value)
    try:
        best = solve(moved, time_limit_s)
    except InfeasibleError as error:
        return Sample(value, proved=True, why_not=str(error))
    except ProblemError as error:  # the time is up
        return Sample(value, why_not=str(error))
    metrics = evaluate(moved, answer.placement, answer.codecs)
    ours = metrics.objective(moved.objective)
    as_good = isclose(ours, best.objective, rel_tol=_EQUAL)
    same = as_good and not broken_limits(moved.limits, metrics)
    plan = answer if same else best
    return Sample(
        value, best.objective, best.status == "optimal", same, plan.placement, plan.codecs
    )
