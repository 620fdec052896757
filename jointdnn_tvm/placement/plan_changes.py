"""Where the optimal plan changes, as one condition of the link or the cloud varies.

A plan costs a linear function of the condition (of 1/rate for a rate), so the optimal ones are the
lower envelope of lines, and they change where two of these cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum, isclose, prod
from typing import NamedTuple

from jointdnn_tvm.placement.conditions import CONDITIONS, present_value, with_value
from jointdnn_tvm.placement.evaluate import evaluate
from jointdnn_tvm.placement.plan_table import Ranges, TablePlan, plan_table
from jointdnn_tvm.placement.problem import Link, Problem, Side
from jointdnn_tvm.placement.solve import Answer

_RATES = 2  # of them: what varies linearly is one over the rate
_RATE_FACTOR = 1000.0  # how far from the present rate the plans are looked for
_LARGEST = 1e100
_RTT_S = 1.0
_SLOWDOWN = (0.1, 10.0)
_EQUAL = 1e-9


@dataclass(frozen=True)
class Region:
    """The values of a condition, from ``least`` to ``most``, where one plan is optimal.

    ``this_plan`` says that the answer which is explained is optimal throughout;
    ``present`` that the present value lies here.
    """

    least: float
    most: float
    present: bool
    this_plan: bool
    placement: dict[str, Side]
    codecs: dict[str, str]


class _Line(NamedTuple):
    constant: float
    slope: float
    plan: TablePlan


def plan_changes(problem: Problem, answer: Answer) -> dict[str, tuple[Region, ...]]:
    """The regions of each condition, in order, while the others stay as they are.

    Conditions: ``uplink_bps`` and ``downlink_bps``, from a thousandth to a thousandfold of the
    present rate; ``rtt_s`` from 0 to a second or tenfold; ``slowdown`` of the cloud from a tenth
    of its present latencies to tenfold. Raises `ProblemError` for limits, blocks or
    throughput, as `plan_table` does.
    """
    return {condition: _regions(problem, answer, condition) for condition in CONDITIONS}


def _regions(problem: Problem, answer: Answer, condition: str) -> tuple[Region, ...]:
    present = tuple(present_value(problem, name) for name in CONDITIONS)
    fixed = {name: (value, value) for name, value in zip(CONDITIONS, present, strict=True)}
    least, most = _range(problem.link, condition)
    plans = plan_table(problem, Ranges(**{**fixed, condition: (least, most)})).plans
    index = CONDITIONS.index(condition)
    is_rate = index < _RATES
    low, high = (1 / most, 1 / least) if is_rate else (least, most)
    spans = _envelope([_line(plan, present, index) for plan in plans], low, high)
    if is_rate:
        spans = [(1 / end, 1 / start, plan) for start, end, plan in reversed(spans)]
        spans[0], spans[-1] = (least, *spans[0][1:]), (spans[-1][0], most, spans[-1][2])
    regions = [Region(start, end, False, False, p.placement, p.codecs) for start, end, p in spans]
    # The present may be where two plans are equal: then it lies in the answer's region.
    at, slack = present[index], 1 + _EQUAL
    around = [i for i, r in enumerate(regions) if r.least <= at * slack and at <= r.most * slack]
    ours = [i for i in around if _costs_the_same(problem, answer, regions[i], condition)]
    here = (ours or around)[0]
    regions[here] = replace(regions[here], present=True)
    if ours:
        plan = replace(regions[here], placement=answer.placement, codecs=answer.codecs)
        regions[here] = replace(plan, this_plan=True)
    return tuple(regions)


def _range(link: Link, condition: str) -> tuple[float, float]:
    if condition == "slowdown":
        return _SLOWDOWN
    if condition == "rtt_s":
        return 0.0, max(_RTT_S, 10 * link.rtt_s)
    rate: float = getattr(link, condition)
    return max(rate / _RATE_FACTOR, 1 / _LARGEST), min(rate * _RATE_FACTOR, _LARGEST)


def _line(plan: TablePlan, present: tuple[float, ...], index: int) -> _Line:
    """What a plan costs as the condition of that index varies alone."""
    at = [1 / value for value in present[:_RATES]] + list(present[_RATES:])
    at[index] = 0.0
    constant = fsum([plan.constant, *map(prod, zip(plan.slopes, at, strict=True))])
    return _Line(constant, plan.slopes[index], plan)


def _envelope(
    lines: Sequence[_Line], low: float, high: float
) -> list[tuple[float, float, TablePlan]]:
    """Where each line is the lowest, from low to high."""
    spans = []
    at = low
    current = min(lines, key=lambda line: (line.constant + line.slope * at, line.slope))
    while True:
        crossings = [
            ((line.constant - current.constant) / (current.slope - line.slope), line)
            for line in lines
            if line.slope < current.slope
        ]
        end = min((max(where, at) for where, _ in crossings), default=high)
        if end * (1 + _EQUAL) >= high:
            spans.append((at, high, current.plan))
            return spans
        if end > at * (1 + _EQUAL):
            spans.append((at, end, current.plan))
            at = end
        near = [line for where, line in crossings if where <= end * (1 + _EQUAL)]
        current = min(near, key=lambda line: line.slope)


def _costs_the_same(problem: Problem, answer: Answer, region: Region, condition: str) -> bool:
    """Whether the answer is as good as a region's plan at both of its ends, so in between too."""
    for value in (region.least, region.most):
        there = with_value(problem, condition, value)
        ours, best = (
            evaluate(there, placement, codecs).objective(there.objective)
            for placement, codecs in (
                (answer.placement, answer.codecs),
                (region.placement, region.codecs),
            )
        )
        if not isclose(ours, best, rel_tol=_EQUAL):
            return False
    return True
