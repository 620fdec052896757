"""The plan for a link whose rates vary.

Latency, and energy too, is linear in 1/rate: one plan for all rates costs on average what it costs
at the mean of 1/rate. (At 1 over the mean rate it would look better than it is.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.plan_table import PlanTable
from jointdnn_tvm.placement.problem import Link, Problem


@dataclass(frozen=True)
class RateSample:
    """Rates in bit/s, and how often they come relative to the other samples."""

    uplink_bps: float
    downlink_bps: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Check the sample; raises `ProblemError`."""
        for name, value in vars(self).items():
            if not 1e-100 <= value <= 1e100:
                raise ProblemError(f"rate sample: {name} is {value!r}: use a number above 0")


def equivalent_problem(problem: Problem, samples: Sequence[RateSample]) -> Problem:
    """The problem on the steady link where each plan costs what it costs on average.

    Deadlines and bottlenecks are not averages: raises `ProblemError` for throughput
    and for limits, and for no samples.
    """
    if problem.objective == "throughput" or problem.limits.active:
        raise ProblemError("rates that vary need latency or energy without limits: remove them")
    total = _total(samples)
    up = fsum(s.weight / s.uplink_bps for s in samples) / total
    down = fsum(s.weight / s.downlink_bps for s in samples) / total
    return replace(problem, link=replace(problem.link, uplink_bps=1 / up, downlink_bps=1 / down))


def adaptive_mean(table: PlanTable, link: Link, samples: Sequence[RateSample]) -> float:
    """What it costs on average (s or J) to look the plan up anew for each rate.

    Raises `ProblemError` for rates outside the table, and for no samples.
    """
    costs = []
    for sample in samples:
        there = replace(link, uplink_bps=sample.uplink_bps, downlink_bps=sample.downlink_bps)
        costs.append(sample.weight * table.look_up(there).cost(there))
    return fsum(costs) / _total(samples)


def _total(samples: Sequence[RateSample]) -> float:
    if not samples:
        raise ProblemError("rate samples are empty: give at least one")
    return fsum(sample.weight for sample in samples)
