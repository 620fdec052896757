"""The plan that is cheapest by any prices of the measures, as a minimum cut."""

from __future__ import annotations

from math import fsum

from jointdnn_tvm.placement.judged_plan import JudgedPlan, judge
from jointdnn_tvm.placement.measures import MEASURES, Measures, Piece
from jointdnn_tvm.placement.min_cut import cheapest_sides
from jointdnn_tvm.placement.prices import Prices
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, SIDES, Problem


class PricedCut:
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

    def cut(self, tariff: Piece) -> tuple[JudgedPlan, Piece]:
        """The plan, and what it takes of each measure."""
        tensors = self._problem.tensors
        best = {
            side: [min((_cost(way, tariff), k) for k, way in enumerate(ways)) for ways in table]
            for side, table in self._ways.items()
        }
        operators = {
            side: [None if piece is None else _cost(piece, tariff) for piece in pieces]
            for side, pieces in self._operators.items()
        }
        up, down = ([cost for cost, _ in best[side]] for side in (MOBILE, CLOUD))
        prices = Prices(operators[MOBILE], operators[CLOUD], up, down, _cost(self._switch, tariff))
        sides, _ = cheapest_sides(self._problem, prices)
        placement = {o.name: side for o, side in zip(self._problem.operators, sides, strict=True)}
        codecs: dict[str, str] = {}
        crossings: dict[str, Piece] = {}
        for index, tensor in enumerate(tensors):
            made_on = MOBILE if tensor.producer is None else placement[tensor.producer]
            _, number = best[made_on][index]
            codecs[tensor.name] = tensor.encodings[number].name
            crossings[tensor.name] = self._ways[made_on][index][number]
        plan = judge(self._problem, placement, codecs)
        pieces: list[Piece] = [self._operators[side][i] or {} for i, side in enumerate(sides)]
        pieces += [crossings[name] for name in plan.metrics.up + plan.metrics.down]
        pieces += [self._switch] * plan.metrics.switches
        return plan, {m: fsum(piece.get(m, 0.0) for piece in pieces) for m in MEASURES}


def _cost(piece: Piece, tariff: Piece) -> float:
    return sum(price * piece[measure] for measure, price in tariff.items() if measure in piece)
