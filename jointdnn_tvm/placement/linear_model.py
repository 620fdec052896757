"""A placement problem as integer columns and rows.

Each operator is a binary column, 1 on the mobile. Each way for a tensor to cross is a column a
direction, and so is each switch; rows make them at least what the sides at their ends say. All
that an objective or a limit takes only ever rewards lower columns, so nothing bounds these from
above. The columns that say which codec a tensor crosses by are binary, the others follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import sqrt

from jointdnn_tvm.placement.choices import PEAK, Choices, Piece, Ways
from jointdnn_tvm.placement.integer_program import ONE, Program, Terms, value_of
from jointdnn_tvm.placement.measures import BUSY, MADE_OF
from jointdnn_tvm.placement.peak_rows import peak_column
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, PLAIN, SIDES, Problem, Side, Tensor
from jointdnn_tvm.placement.solution import LIMIT_SLACK

# A bottleneck is a column, as exact as its rows: they are counted in so much finer units.
_FINE = 1e4
_KNOWN = 1e-8  # units of latency: more than what rows may be off
_DEADLINE = "max_latency_s"
_Columns = list[tuple[str, int | None]]  # codecs by name, and the column of each that needs one


class LinearModel:
    """The columns of a problem; ``target`` (an objective, or what a limit bounds) is to be least.

    ``at_most`` is a value of the target that is known to be possible.
    """

    def __init__(self, problem: Problem, target: str, at_most: float | None = None) -> None:
        self.problem, self.program = problem, Program()
        choices = Choices(problem, target, at_most)
        self._units = choices.units
        self.terms: dict[str, dict[int, float]] = {m: {} for m in choices.units}
        self.on_mobile = [self._place(sides) for sides in choices.sides]
        self._sides = {column for literal in self.on_mobile for column in literal}
        self.codecs = {
            (tensor.name, side): self._cross(tensor, side, choices.ways[tensor.name, side])
            for tensor in problem.tensors
            for side in SIDES
        }
        self.switches = self._switch(choices.switch)
        uses = (target, *problem.limits.active)
        self._spread: int | None = None
        self._spreads: list[tuple[Terms, float]] = []
        if _DEADLINE in uses and problem.limits.latency_sigmas:
            self._spread = self.program.column(upper=float("inf"))
            self._spreads = self._list_spreads()
        metrics = {use: self._metric(use) for use in uses}
        self.target, self.unit = metrics[target], self._units[MADE_OF[target][0]]
        for name, limit in problem.limits.active.items():
            self._limit(metrics[name], limit / self._units[MADE_OF[name][0]])

    def spread_cut(self, columns: Sequence[float]) -> bool:
        """Tell how long the standard deviation is there, and so at least elsewhere.

        A norm is convex: it is nowhere below its tangent at a point. False: that was known.
        """
        if self._spread is None:
            return False
        parts = [(t, spread, value_of(t, columns) * spread) for t, spread in self._spreads]
        norm = sqrt(sum(part**2 for _, _, part in parts))
        if norm <= columns[self._spread] + _KNOWN:
            return False
        row: dict[int, float] = {self._spread: 1.0}
        for literal, spread, part in parts:
            _add(row, literal, -spread * part / norm)
        self.program.at_least_zero(row)
        return True

    def exclude(self, columns: Sequence[float]) -> None:
        """Allow no plan with these sides and, for each tensor that crosses, its codec."""
        row: dict[int, float] = {ONE: -1.0}
        for column in self._integers():
            if columns[column] > 0.5:
                _add(row, {ONE: 1.0, column: -1.0})
            elif column in self._sides:
                _add(row, {column: 1.0})
        self.program.at_least_zero(row)

    def start(self, placement: Mapping[str, Side], codecs: Mapping[str, str]) -> dict[int, float]:
        """The integer columns of a plan."""
        start = dict.fromkeys(self._integers(), 0.0)
        for operator, literal in zip(self.problem.operators, self.on_mobile, strict=True):
            for column in literal:
                if column in start:
                    start[column] = float(placement[operator.name] == MOBILE)
        for tensor in self.problem.tensors:
            made_on = MOBILE if tensor.producer is None else placement[tensor.producer]
            for codec, choice in self.codecs[tensor.name, made_on]:
                if choice is not None and choice in start:
                    start[choice] = float(codecs.get(tensor.name, PLAIN) == codec)
        return start

    def plan(self, columns: Sequence[float]) -> tuple[dict[str, Side], dict[str, str]]:
        """The placement and the codecs that the columns say."""
        placement: dict[str, Side] = {
            operator.name: MOBILE if value_of(literal, columns) > 0.5 else CLOUD
            for operator, literal in zip(self.problem.operators, self.on_mobile, strict=True)
        }
        codecs = {}
        for tensor in self.problem.tensors:
            made_on = MOBILE if tensor.producer is None else placement[tensor.producer]
            choices = self.codecs[tensor.name, made_on]
            if tensor.codecs and choices:
                most = max(choices, key=lambda c: 0.0 if c[1] is None else columns[c[1]])
                codecs[tensor.name] = most[0]
        return placement, codecs

    def _integers(self) -> list[int]:
        return [column for column, integer in enumerate(self.program.integer) if integer]

    def _pay(self, piece: Piece, literal: Terms) -> None:
        for measure, value in piece.items():
            _add(self.terms[measure], literal, value)

    def _place(self, choice: Mapping[Side, Piece | None]) -> Terms:
        """The literal that is 1 when an operator is on the mobile."""
        mobile, cloud = choice[MOBILE], choice[CLOUD]
        literal: Terms
        if mobile is not None and cloud is not None:
            literal = {self.program.column(integer=True): 1.0}
        else:
            literal = {ONE: 1.0} if mobile is not None else {}
        if mobile is None and cloud is None:
            self.program.at_least_zero({ONE: -1.0})
        self._pay(mobile or {}, literal)
        self._pay(cloud or {}, _not(literal))
        return literal

    def _cross(self, tensor: Tensor, leaves: Side, ways: Ways) -> _Columns:
        """Columns for a tensor that leaves a side, as much as its ends say."""
        starts: Terms = {ONE: 1.0}
        if tensor.producer is not None:
            starts = self._on(tensor.producer, MOBILE)
        ends = [self._on(name, MOBILE) for name in tensor.consumers]
        if leaves == CLOUD:
            if tensor.output and self.problem.ends_on_mobile:
                ends.append({ONE: 1.0})
            needs = [_sum(end, starts, -1.0) for end in ends]
        else:
            needs = [_sum(starts, end, -1.0) for end in ends]
        needs = [need for need in needs if any(value > 0 for value in need.values())]
        if not needs or (len(ways) == 1 and not ways[0][1]):
            return [(codec, None) for codec, _ in ways]
        choices: _Columns = []
        for codec, piece in ways:
            column = self.program.column(integer=len(ways) > 1)
            choices.append((codec, column))
            self._pay(piece, {column: 1.0})
        for need in needs:
            row = {column: 1.0 for _, column in choices if column is not None}
            self.program.at_least_zero(_sum(row, need, -1.0))
        return choices

    def _switch(self, piece: Piece) -> list[int]:
        """A column for each pair of neighbours in the execution order."""
        walk = list(self.on_mobile)
        if self.problem.starts_on_mobile:
            walk.insert(0, {ONE: 1.0})
        if self.problem.ends_on_mobile:
            walk.append({ONE: 1.0})
        columns = []
        for one, other in pairwise(walk):
            column = self.program.column()
            columns.append(column)
            self._pay(piece, {column: 1.0})
            for here, there in ((one, other), (other, one)):
                self.program.at_least_zero(_sum(_sum({column: 1.0}, here, -1.0), there))
        return columns

    def _list_spreads(self) -> list[tuple[Terms, float]]:
        """For each operator and side, the literal that it is there, and its spread in units."""
        spreads = []
        for operator, mobile in zip(self.problem.operators, self.on_mobile, strict=True):
            for side, literal in ((MOBILE, mobile), (CLOUD, _not(mobile))):
                cost = operator.cost(side)
                spread_s = 0.0 if cost is None else cost.spread_s
                spreads.append((literal, spread_s / self._units["latency"]))
        return spreads

    def _metric(self, use: str) -> Terms:
        """An objective, or what a limit bounds, in units of its first measure."""
        (first, *_) = MADE_OF[use]
        if use == "throughput":
            column = self.program.column(upper=float("inf"))
            for measure in BUSY:
                busy = {c: _FINE * value for c, value in self.terms[measure].items()}
                self.program.at_least_zero(_sum({column: 1.0}, busy, -1.0))
            return {column: 1 / _FINE}
        if use == _DEADLINE and self._spread is not None:
            return _sum(self.terms[first], {self._spread: self.problem.limits.latency_sigmas})
        if use == PEAK:
            literals = {
                operator.name: literal
                for operator, literal in zip(self.problem.operators, self.on_mobile, strict=True)
            }
            unit = self._units["weights"]
            return {peak_column(self.problem, self.program, literals, self.terms[first], unit): 1.0}
        return self.terms[first]

    def _limit(self, metric: Terms, most: float) -> None:
        """A row that keeps a metric within its limit, and a little more to be judged exactly."""
        scale = 1 / most if most else 1.0
        self.program.at_least_zero(
            _sum({ONE: most * (1 + 2 * LIMIT_SLACK) * scale}, metric, -scale)
        )

    def _on(self, name: str, side: Side) -> Terms:
        literal = self.on_mobile[self.problem.positions[name]]
        return literal if side == MOBILE else _not(literal)


def _not(literal: Terms) -> Terms:
    return _sum({ONE: 1.0}, literal, -1.0)


def _sum(one: Terms, other: Terms, factor: float = 1.0) -> dict[int, float]:
    total = dict(one)
    _add(total, other, factor)
    return total


def _add(total: dict[int, float], other: Terms, factor: float = 1.0) -> None:
    for column, value in other.items():
        total[column] = total.get(column, 0.0) + factor * value
