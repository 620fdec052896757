"""A first plan and a first bound: prices on what is limited, in place of the limits.

For any prices of 0 or more, the minimum cut of the objective and of what the limits' resources
cost, less what the limits allow of them, is below every plan within the limits (Geoffrion, 1974).
For throughput the four parts get weights that add up to 1. The best prices are found by cutting
planes (Kelley, 1960), and some of the plans met on the way are often within the limits.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import fsum, inf
from typing import NamedTuple

from jointdnn_tvm.placement.integer_program import ONE, Program, minimise
from jointdnn_tvm.placement.judged_plan import JudgedPlan, judge
from jointdnn_tvm.placement.measures import MADE_OF, MEASURES, Measures
from jointdnn_tvm.placement.min_cut import cheapest_sides
from jointdnn_tvm.placement.prices import Prices
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, SIDES, Problem

_MOST_CUTS = 12
_CLOSE = 1e-4  # relative, between the bound and what better prices could make of it
_DEAREST = 1e3  # the price of all that a limit allows, in what the best plan without limits costs

_Piece = Mapping[str, float]
_Weights = dict[str, float]  # of measures in the objective, and the price of each limit


class Relaxed(NamedTuple):
    """The best plan met that is within the limits, and what no plan within them is below."""

    plan: JudgedPlan | None
    bound: float


def relax(problem: Problem, target: str, until: float) -> Relaxed:
    """A plan and a bound for an objective, or for what a limit bounds.

    Stops when the clock (of `time.monotonic`) is past ``until``.
    """
    tariffs, prices = _Tariffs(problem, target), _PricedCut(problem)
    best: JudgedPlan | None = None
    bound = 0.0
    for _ in range(_MOST_CUTS):
        weights, hope = tariffs.best()
        plan, taken = prices.cut(tariffs.of_measures(weights))
        bound = max(bound, tariffs.add(taken, weights))
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
        self._met: list[_Piece] = []
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
        return chosen, columns[bound] * self._scale

    def of_measures(self, weights: _Weights) -> _Piece:
        """What a unit of each measure costs."""
        tariff = {name: weights[name] / self._scale for name in self._parts}
        for name, limit in self._limits.items():
            (measure,) = MADE_OF[name]
            price = weights.get(name, 0.0) / (limit or 1.0)
            tariff[measure] = tariff.get(measure, 0.0) + price
        return tariff

    def add(self, taken: _Piece, weights: _Weights) -> float:
        """Take note of the plan that is cheapest by these; returns the bound that it gives."""
        costs = [weights[name] * taken[name] for name in self._parts]
        excess = [weights.get(n, 0.0) * self._excess(n, taken) for n in self._limits]
        bound = fsum(costs) + fsum(excess) * self._scale
        if not self._met:
            self._scale = fsum(costs) or 1.0
        self._met.append(taken)
        return bound

    def _excess(self, name: str, taken: _Piece) -> float:
        """How much a plan takes over a limit, in units of it."""
        limit = self._limits[name]
        return (sum(taken[measure] for measure in MADE_OF[name]) - limit) / (limit or 1.0)


class _PricedCut:
    """The plan that is cheapest by any prices of the measures."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        measures = Measures(problem, float)
        self._operators = {s: [measures.operator(o, s) for o in problem.operators] for s in SIDES}
        self._ways = {
            s: [[measures.crossing(c, s) for c in t.encodings] for t in problem.tensors]
            for s in SIDES
        }
        self._switch = measures.switch()

    def cut(self, tariff: _Piece) -> tuple[JudgedPlan, _Piece]:
        """The plan, and what it takes of each measure."""
        best = {
            side: [min((_cost(way, tariff), k) for k, way in enumerate(ways)) for ways in tensors]
            for side, tensors in self._ways.items()
        }
        operators = {
            side: [None if piece is None else _cost(piece, tariff) for piece in pieces]
            for side, pieces in self._operators.items()
        }
        up, down = ([cost for cost, _ in best[side]] for side in (MOBILE, CLOUD))
        prices = Prices(operators[MOBILE], operators[CLOUD], up, down, _cost(self._switch, tariff))
        sides, _ = cheapest_sides(self._problem, prices)
        placement = {o.name: side for o, side in zip(self._problem.operators, sides, strict=True)}
        codecs, numbers = {}, []
        for index, tensor in enumerate(self._problem.tensors):
            made_on = MOBILE if tensor.producer is None else placement[tensor.producer]
            number = best[made_on][index][1]
            codecs[tensor.name] = tensor.encodings[number].name
            numbers.append((made_on, index, number))
        plan = judge(self._problem, placement, codecs)
        crosses = {*plan.metrics.up, *plan.metrics.down}
        taken = dict.fromkeys(MEASURES, 0.0)
        pieces = [self._switch] * plan.metrics.switches
        pieces += [
            self._operators[placement[o.name]][i] or {}
            for i, o in enumerate(self._problem.operators)
        ]
        pieces += [
            self._ways[side][index][number]
            for side, index, number in numbers
            if self._problem.tensors[index].name in crosses
        ]
        for piece in pieces:
            for measure, value in piece.items():
                taken[measure] += value
        return plan, taken


def _cost(piece: _Piece, tariff: _Piece) -> float:
    return sum(price * piece[measure] for measure, price in tariff.items() if measure in piece)
