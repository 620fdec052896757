"""A first plan and a first bound: prices on what is limited, in place of the limits.

For any prices of 0 or more, the minimum cut of the objective and of what the limits' resources
cost, less what the limits allow of them, is below every plan within the limits (Geoffrion, 1974).
For throughput the four parts get weights that add up to 1. The best prices are found by cutting
planes (Kelley, 1960), and some of the plans met on the way are often within the limits.
"""

from __future__ import annotations

import time
from math import fsum, inf
from typing import NamedTuple

from jointdnn_tvm.placement.integer_program import ONE, Program, minimise
from jointdnn_tvm.placement.judged_plan import JudgedPlan
from jointdnn_tvm.placement.measures import MADE_OF, Piece
from jointdnn_tvm.placement.priced_cut import PricedCut
from jointdnn_tvm.placement.problem import Problem

_MOST_CUTS = 12
_TIGHT = 1e-12  # relative: less than what a minimum cut takes for equal
_CLOSE = 1e-4  # relative, between the bound and what better prices could make of it
_DEAREST = 1e3  # the price of all that a limit allows, in what the best plan without limits costs

_Weights = dict[str, float]  # of measures in the objective, and the price of each limit


class Relaxed(NamedTuple):
    """The best plan met that is within the limits, and what no plan within them is below.

    An ``optimal`` plan has the fewest switches of those that take as little of the target.
    """

    plan: JudgedPlan | None
    bound: float
    optimal: bool = False


def relax(problem: Problem, target: str, until: float) -> Relaxed:
    """A plan and a bound for an objective, or for what a limit bounds.

    Stops when the clock (of `time.monotonic`) is past ``until``.
    """
    tariffs, prices = _Tariffs(problem, target), PricedCut(problem)
    best: JudgedPlan | None = None
    bound = 0.0
    for _ in range(_MOST_CUTS):
        weights, hope = tariffs.best()
        plan, taken = prices.cut(tariffs.of_measures(weights))
        this = tariffs.add(taken, weights)
        bound = max(bound, this)
        if plan.within(problem.limits) and this >= plan.value(target) * (1 - _TIGHT):
            # All that are as good are as cheap by these prices: the cut saw them.
            return Relaxed(plan, bound, optimal=True)
        if plan.within(problem.limits) and (
            best is None or plan.value(target) < best.value(target)
        ):
            best = plan
        known = hope < inf and hope - bound <= _CLOSE * hope
        if known or time.monotonic() > until:
            break
    return Relaxed(best, bound)


class _Tariffs:
    """Weights of the objective's measures and prices of the limits, by the plans met so far."""

    def __init__(self, problem: Problem, target: str) -> None:
        self._parts, self._limits = MADE_OF[target], problem.limits.active
        self._met: list[Piece] = []
        self._scale = 1.0  # what the best plan without limits costs

    def best(self) -> tuple[_Weights, float]:
        """Those that make the bound highest by the plans met, and that bound."""
        even = dict.fromkeys(self._parts, 1 / len(self._parts))
        if not self._met:
            return even, inf
        program = Program()
        bound = program.column(-inf, inf)
        weights = {name: program.column() for name in self._parts}
        prices = {name: program.column(upper=_DEAREST) for name in self._limits}
        for sign in (1.0, -1.0):
            whole = dict.fromkeys(weights.values(), sign)
            program.at_least_zero({ONE: -sign, **whole})
        for taken in self._met:
            row = {column: taken[name] / self._scale for name, column in weights.items()}
            row |= {column: self._excess(name, taken) for name, column in prices.items()}
            program.at_least_zero({bound: -1.0, **row})
        columns = minimise(program, {bound: -1.0}, 1.0).columns
        if columns is None:
            return even, 0.0
        chosen = {name: max(0.0, columns[c]) for name, c in (weights | prices).items()}
        whole_weight = fsum(chosen[name] for name in self._parts)
        chosen |= {name: chosen[name] / whole_weight for name in self._parts}
        return chosen, columns[bound] * self._scale

    def of_measures(self, weights: _Weights) -> Piece:
        """What a unit of each measure costs."""
        tariff = {name: weights[name] / self._scale for name in self._parts}
        for name, limit in self._limits.items():
            (measure,) = MADE_OF[name]
            price = weights.get(name, 0.0) / (limit or 1.0)
            tariff[measure] = tariff.get(measure, 0.0) + price
        return tariff

    def add(self, taken: Piece, weights: _Weights) -> float:
        """Take note of the plan that is cheapest by these; returns the bound that it gives."""
        costs = [weights[name] * taken[name] for name in self._parts]
        excess = [weights.get(n, 0.0) * self._excess(n, taken) for n in self._limits]
        bound = fsum(costs) + fsum(excess) * self._scale
        if not self._met:
            self._scale = fsum(costs) or 1.0
        self._met.append(taken)
        return bound

    def _excess(self, name: str, taken: Piece) -> float:
        """How much a plan takes over a limit, in units of it."""
        limit = self._limits[name]
        return (sum(taken[measure] for measure in MADE_OF[name]) - limit) / (limit or 1.0)
