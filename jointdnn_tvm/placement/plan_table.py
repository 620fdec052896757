"""Every plan that is optimal somewhere over ranges of rates, round trip and cloud slowdown.

A placement with its codecs costs a linear function of (1/uplink, 1/downlink, rtt, slowdown), so
the optimum is the lower envelope of such functions: concave and piecewise linear. It is found by
the recursion of Eisner and Severance (1976), in as many dimensions as have a range: solve at every
vertex of the envelope of the plans known so far; where a fresh minimum cut is cheaper, its plan
joins them. When it is nowhere cheaper the table is complete, for between its vertices a concave
function is never below what the vertices say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product
from math import fsum
from typing import Any

import numpy as np
import numpy.typing as npt

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.evaluate import evaluate
from jointdnn_tvm.placement.min_cut import minimum_cut
from jointdnn_tvm.placement.problem import MOBILE, Link, Problem, Side
from jointdnn_tvm.placement.solution import Solution

FORMAT = "jointdnn-plan-table/1"
_NAMES = ("uplink_bps", "downlink_bps", "rtt_s", "slowdown")
_EQUAL = 1e-11  # relative: costs that differ by less are equal, as in the cut
_SLACK = 1e-9  # in units of the box, and relative for costs, on a vertex found in floats

Array = npt.NDArray[np.float64]


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
    free = np.flatnonzero(high > low)
    plans: list[TablePlan] = []
    tested: set[tuple[float, ...]] = set()

    def unknown(inside: Array) -> bool:
        """Whether a fresh cut there is cheaper than all plans; it then joins them."""
        at = low.copy()
        at[free] += np.clip(inside, 0, 1) * (high - low)[free]
        plan = _solve_at(problem, at)
        known = min((_cost(p, at) for p in plans), default=np.inf)
        if _cost(plan, at) >= known * (1 - _EQUAL):
            return False
        plans.append(plan)
        return True

    for corner in product((0.0, 1.0), repeat=len(free)):
        tested.add(corner)
        unknown(np.array(corner))
    done = 0
    while done < len(plans):
        newest, done = done, done + 1
        for vertex in _vertices(_planes(plans[:done], low, high, free), newest):
            key = tuple(np.round(vertex, 12) + 0.0)
            if key not in tested:
                tested.add(key)
                unknown(vertex)
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


def _solve_at(problem: Problem, at: Array) -> TablePlan:
    up, down, rtt_s, slowdown = map(float, at)
    link = replace(problem.link, uplink_bps=1 / up, downlink_bps=1 / down, rtt_s=rtt_s)
    return _linear(problem, minimum_cut(at_condition(problem, link, slowdown)))


def _linear(problem: Problem, solution: Solution) -> TablePlan:
    """The linear function of a placement, by the definition of its objective."""
    placement, link = solution.placement, problem.link
    metrics = evaluate(problem, placement, solution.codecs)
    tensors = {tensor.name: tensor for tensor in problem.tensors}
    used = {name: solution.codecs.get(name, "none") for name in metrics.up + metrics.down}
    up = [tensors[name].encoding(used[name]) for name in metrics.up]
    down = [tensors[name].encoding(used[name]) for name in metrics.down]
    mobile = [o.mobile for o in problem.operators if placement[o.name] == MOBILE and o.mobile]
    bits_up, bits_down = (8 * fsum(c.size_bytes for c in codecs) for codecs in (up, down))
    if problem.objective == "energy":
        constant = fsum(cost.energy_j for cost in mobile)
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


def _cost(plan: TablePlan, at: Array) -> float:
    return plan.constant + float(np.dot(plan.slopes, at))


def _planes(plans: list[TablePlan], low: Array, high: Array, free: npt.NDArray[Any]) -> Array:
    """Each plan's constant and slopes over the box from 0 to 1, in units of the largest."""
    rows = [
        [_cost(p, low), *(np.array(p.slopes)[free] * (high - low)[free]).tolist()] for p in plans
    ]
    planes = np.array(rows)
    return planes / (np.abs(planes).max() or 1.0)


def _vertices(planes: Array, newest: int) -> Iterator[Array]:
    """The vertices of the lower envelope over the unit box at which a plan takes part."""
    size = planes.shape[1] - 1
    if size == 0:
        return
    others = [planes[i] - planes[newest] for i in range(len(planes)) if i != newest]
    faces = [(-side, *row) for row in np.eye(size) for side in (0.0, 1.0)]
    rows = np.array([*others, *faces])
    lengths = np.linalg.norm(rows[:, 1:], axis=1)
    rows = rows[lengths > 1e-15] / lengths[lengths > 1e-15, None]
    chosen = rows[np.array(list(combinations(range(len(rows)), size)))]
    chosen = chosen[np.abs(np.linalg.det(chosen[:, :, 1:])) > 1e-12]
    points = np.linalg.solve(chosen[:, :, 1:], -chosen[:, :, :1])[:, :, 0]
    points = points[((points > -_SLACK) & (points < 1 + _SLACK)).all(axis=1)]
    costs = planes[:, :1] + planes[:, 1:] @ points.T
    yield from points[costs[newest] <= costs.min(axis=0) + _SLACK * np.abs(costs).max(initial=0)]
