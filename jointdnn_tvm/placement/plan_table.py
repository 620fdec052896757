"""Every plan that is optimal somewhere over ranges of rates, round trip and cloud slowdown.

A placement with its codecs costs a linear function of (1/uplink, 1/downlink, rtt, slowdown), so
the optimum is the lower envelope of such functions: concave and piecewise linear. It is found by
the recursion of Eisner and Severance (1976), in as many dimensions as have a range: solve at every
vertex of the envelope of the plans known so far; where a fresh minimum cut is cheaper, its plan
joins them. When it is nowhere cheaper the table is complete, for between its vertices a concave
function is never below what the vertices say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import fsum
from typing import Any

import numpy as np

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.envelope import Array, Envelope
from jointdnn_tvm.placement.evaluate import evaluate
from jointdnn_tvm.placement.linear_prices import LinearPrices
from jointdnn_tvm.placement.min_cut import cheapest_sides, codecs_of
from jointdnn_tvm.placement.problem import MOBILE, Link, Problem, Side

FORMAT = "jointdnn-plan-table/1"
_NAMES = ("uplink_bps", "downlink_bps", "rtt_s", "slowdown")
_EQUAL = 1e-11  # relative: costs that differ by less are equal, as in the cut


@dataclass(frozen=True)
class Ranges:
    """The least and the most of each condition; rates in bit/s, rtt in s, slowdown a factor."""

    uplink_bps: tuple[float, float]
    downlink_bps: tuple[float, float]
    rtt_s: tuple[float, float] = (0.0, 0.0)
    slowdown: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the ranges; raises `ProblemError`."""
        for name in _NAMES:
            least, most = getattr(self, name)
            positive = name.endswith("bps")
            if not (0 <= least <= most <= 1e100) or (positive and least < 1e-100):
                raise ProblemError(f"range of {name} is {least!r} to {most!r}: give least, most")

    def box(self) -> tuple[Array, Array]:
        """The least and the most of each linear parameter."""
        up, down = self.uplink_bps, self.downlink_bps
        lows = (1 / up[1], 1 / down[1], self.rtt_s[0], self.slowdown[0])
        highs = (1 / up[0], 1 / down[0], self.rtt_s[1], self.slowdown[1])
        return np.array(lows), np.array(highs)


@dataclass(frozen=True)
class TablePlan:
    """A placement, the codecs of what crosses, and its cost as a linear function.

    It costs ``constant`` + ``slopes`` · (1/uplink, 1/downlink, rtt, slowdown), in s or J.
    """

    placement: dict[str, Side]
    codecs: dict[str, str]
    constant: float
    slopes: tuple[float, float, float, float]

    def cost(self, link: Link, slowdown: float = 1.0) -> float:
        """What the plan costs on a link, in s or J."""
        at = (1 / link.uplink_bps, 1 / link.downlink_bps, link.rtt_s, slowdown)
        return fsum([self.constant, *(a * b for a, b in zip(self.slopes, at, strict=True))])


@dataclass(frozen=True)
class PlanTable:
    """The plans, one of which is optimal at each condition within the ranges."""

    ranges: Ranges
    plans: tuple[TablePlan, ...]

    def look_up(self, link: Link, slowdown: float = 1.0) -> TablePlan:
        """The optimal plan for a link's rates and rtt; raises `ProblemError` outside the ranges."""
        given = (link.uplink_bps, link.downlink_bps, link.rtt_s, slowdown)
        for name, value in zip(_NAMES, given, strict=True):
            least, most = getattr(self.ranges, name)
            if not least <= value <= most:
                raise ProblemError(
                    f"{name} {value:.6g} is outside the table's {least:.6g} to {most:.6g}: "
                    "build the table for a wider range"
                )
        at = (1 / given[0], 1 / given[1], given[2], given[3])
        constants, slopes = self._costs
        return self.plans[int((constants + slopes @ at).argmin())]

    def to_json(self) -> dict[str, Any]:
        """The table as a ``jointdnn-plan-table/1`` document."""
        return {
            "format": FORMAT,
            "ranges": {name: list(getattr(self.ranges, name)) for name in _NAMES},
            "plans": [{**vars(plan), "slopes": list(plan.slopes)} for plan in self.plans],
        }

    @staticmethod
    def from_json(document: Any) -> PlanTable:
        """Read a parsed document; raises `ProblemError` when it is not a table."""
        try:
            if document["format"] != FORMAT:
                raise ProblemError(f"plan table: this version reads format {FORMAT!r}")
            ranges = Ranges(**{name: tuple(document["ranges"][name]) for name in _NAMES})
            plans = [TablePlan(**{**p, "slopes": tuple(p["slopes"])}) for p in document["plans"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ProblemError(f"plan table does not fit ({error!r}): build it again") from error
        return PlanTable(ranges, tuple(plans))

    @cached_property
    def _costs(self) -> tuple[Array, Array]:
        return np.array([p.constant for p in self.plans]), np.array([p.slopes for p in self.plans])


def plan_table(problem: Problem, ranges: Ranges) -> PlanTable:
    """The table of a problem; ``ranges`` take the place of its link's rates and rtt.

    Raises `ProblemError` for limits, blocks or throughput, which no linear function prices.
    """
    if problem.limits.active or problem.blocks or problem.objective == "throughput":
        raise ProblemError("a plan table cannot hold limits, blocks or throughput: remove them")
    low, high = ranges.box()
    free = high > low
    prices = LinearPrices(problem)

    def solve_at(condition: Array) -> tuple[list[Side], float]:
        sides, cost = cheapest_sides(problem, prices.at(condition))
        assert cost is not None, "without limits every operator can run somewhere"
        return sides, cost

    def in_the_box(plan: TablePlan) -> Array:
        """The plan's cost over what has a range, each in units of its most."""
        slopes = np.array(plan.slopes)
        fixed = plan.constant + float(slopes[~free] @ low[~free])
        return np.array([fixed, *(slopes * high)[free]])

    plans = [_plan(problem, solve_at(high)[0], high)]
    envelope = Envelope(low[free] / high[free], np.ones(free.sum()), in_the_box(plans[0]))
    while (vertex := envelope.next_vertex()) is not None:
        place, known = vertex
        condition = low.copy()
        condition[free] = place * high[free]
        sides, cost = solve_at(condition)
        if cost < known * (1 - _EQUAL):
            plans.append(_plan(problem, sides, condition))
            envelope.add(in_the_box(plans[-1]))
    return PlanTable(ranges, tuple(plans))


def at_condition(problem: Problem, link: Link, slowdown: float = 1.0) -> Problem:
    """The problem on another link, with a cloud that takes ``slowdown`` times as long."""
    operators = tuple(
        o
        if o.cloud is None
        else replace(o, cloud=replace(o.cloud, latency_s=o.cloud.latency_s * slowdown))
        for o in problem.operators
    )
    return replace(problem, link=link, operators=operators)


def _plan(problem: Problem, sides: list[Side], condition: Array) -> TablePlan:
    """The placement with the codecs that are best for it under a condition."""
    up, down, rtt_s, slowdown = map(float, condition)
    placement = {o.name: side for o, side in zip(problem.operators, sides, strict=True)}
    link = replace(problem.link, uplink_bps=1 / up, downlink_bps=1 / down, rtt_s=rtt_s)
    return _linear(problem, placement, codecs_of(at_condition(problem, link, slowdown), placement))


def _linear(problem: Problem, placement: dict[str, Side], codecs: dict[str, str]) -> TablePlan:
    """The linear function of a placement, by the definition of its objective."""
    link = problem.link
    metrics = evaluate(problem, placement, codecs)
    tensors = {tensor.name: tensor for tensor in problem.tensors}
    used = {name: codecs.get(name, "none") for name in metrics.up + metrics.down}
    up = [tensors[name].encoding(used[name]) for name in metrics.up]
    down = [tensors[name].encoding(used[name]) for name in metrics.down]
    mobile = [o.mobile for o in problem.operators if placement[o.name] == MOBILE and o.mobile]
    bits_up, bits_down = (8 * fsum(c.size_bytes for c in codecs) for codecs in (up, down))
    if problem.objective == "energy":
        codec_j = [c.encode_j for c in up] + [c.decode_j for c in down]
        tails_j = [link.tail_j / 2] * metrics.switches
        constant = fsum([cost.energy_j for cost in mobile] + codec_j + tails_j)
        weights = (link.transmit_w, link.receive_w, link.idle_w)
    else:
        codec_s = [s for c in up for s in (c.encode_s.mobile, c.decode_s.cloud)]
        codec_s += [s for c in down for s in (c.encode_s.cloud, c.decode_s.mobile)]
        constant = fsum([cost.latency_s for cost in mobile] + codec_s)
        weights = (1.0, 1.0, 1.0)
    slopes = (
        weights[0] * bits_up,
        weights[1] * bits_down,
        weights[2] * metrics.switches / 2,
        weights[2] * metrics.cloud_s,
    )
    return TablePlan(placement, used, constant, slopes)
