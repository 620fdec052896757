"""A placement problem as integer columns and rows.

Each operator is a binary column, 1 on the mobile. Each way for a tensor to cross is a column a
direction, and so is each switch; rows make them at least what the sides at their ends say. All
that an objective or a limit takes only ever rewards lower columns, so nothing bounds these from
above. The columns that say which codec a tensor crosses by are binary, the others follow.

Every measure is counted in a unit near its limit, so that the tolerances of a solver in floats
mean the same at any scale. A choice that alone is over a limit gets no column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import sqrt

from jointdnn_tvm.placement.integer_program import ONE, Program, Terms
from jointdnn_tvm.placement.measures import BUSY, MADE_OF, Measures
from jointdnn_tvm.placement.peak_rows import peak_column
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, SIDES, Codec, Problem, Side, Tensor
from jointdnn_tvm.placement.solution import LIMIT_SLACK

DEADLINE, PEAK = "max_latency_s", "max_mobile_peak_bytes"
_Piece = Mapping[str, float]
_Choices = list[tuple[str, int | None]]  # codecs by name, and the column of each that needs one


class LinearModel:
    """The columns of a problem; ``target`` (an objective, or what a limit bounds) is to be least.

    ``at_most`` is a value of the target that is known to be possible.
    """

    def __init__(self, problem: Problem, target: str, at_most: float | None = None) -> None:
        self.problem, self.program = problem, Program()
        self._measures = Measures(problem, float)
        caps = problem.limits.active | ({} if at_most is None else {target: at_most})
        for name, limit in problem.limits.active.items():
            caps[name] = min(caps[name], limit)
        uses = (target, *problem.limits.active)
        self._needed = tuple(dict.fromkeys(m for use in uses for m in MADE_OF[use]))
        self._ceilings = _ceilings(caps)
        sides = [{s: self._operator(i, s) for s in SIDES} for i in range(len(problem.operators))]
        ways = {(t.name, s): self._ways(t, s) for t in problem.tensors for s in SIDES}
        switch = self._used(self._measures.switch())
        pieces = [piece for choice in sides for piece in choice.values() if piece is not None]
        pieces += [piece for choice in ways.values() for _, piece in choice]
        self._units = self._choose_units([*pieces, switch], with_tensors=PEAK in uses)
        self.terms: dict[str, dict[int, float]] = {m: {} for m in self._needed}
        self.on_mobile = [self._place(choice) for choice in sides]
        self.codecs = {
            (tensor.name, side): self._cross(tensor, side, ways[tensor.name, side])
            for tensor in problem.tensors
            for side in SIDES
        }
        self.switches = self._switch(switch)
        self._spread: int | None = None
        self._spreads: list[tuple[Terms, float]] = []
        if DEADLINE in uses and problem.limits.latency_sigmas:
            self._spread = self.program.column(upper=float("inf"))
            self._spreads = self._list_spreads()
        metrics = {use: self._metric(use) for use in uses}
        self.target, self.unit = metrics[target], self._units[MADE_OF[target][0]]
        for name, limit in problem.limits.active.items():
            self._limit(metrics[name], limit / self._units[MADE_OF[name][0]])

    def spread_cut(self, placement: Mapping[str, Side]) -> bool:
        """Tell how long the standard deviation is there, and so at least elsewhere.

        A norm is convex: it is nowhere below its tangent at a point. False: this needs no cut.
        """
        if self._spread is None:
            return False
        used = [
            (literal, spread)
            for (literal, spread), (operator, side) in zip(
                self._spreads,
                ((o, s) for o in self.problem.operators for s in SIDES),
                strict=True,
            )
            if placement[operator.name] == side and spread
        ]
        norm = sqrt(sum(spread**2 for _, spread in used))
        if not norm:
            return False
        row: dict[int, float] = {self._spread: 1.0}
        for literal, spread in used:
            _add(row, literal, -(spread**2) / norm)
        self.program.at_least_zero(row)
        return True

    def exclude(self, columns: Sequence[float]) -> None:
        """Allow everything but the integer columns given."""
        row: dict[int, float] = {ONE: -1.0}
        for column in self._integers():
            if columns[column] > 0.5:
                _add(row, {ONE: 1.0, column: -1.0})
            else:
                _add(row, {column: 1.0})
        self.program.at_least_zero(row)

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

    def _used(self, piece: _Piece) -> _Piece:
        return {m: piece[m] for m in self._needed if piece.get(m)}

    def _fits(self, piece: _Piece) -> bool:
        """Whether a choice is within every limit by itself."""
        return all(v <= self._ceilings[m] for m, v in piece.items() if m in self._ceilings)

    def _operator(self, index: int, side: Side) -> _Piece | None:
        piece = self._measures.operator(self.problem.operators[index], side)
        if piece is None:
            return None
        used = self._used(piece)
        return used if self._fits(used) else None

    def _ways(self, tensor: Tensor, leaves: Side) -> list[tuple[Codec, _Piece]]:
        """The codecs by which a tensor may leave a side, less those that another one beats."""
        ways = [(c, self._used(self._measures.crossing(c, leaves))) for c in tensor.encodings]
        ways = [way for way in ways if self._fits(way[1])]
        kept: list[tuple[Codec, _Piece]] = []
        for codec, piece in ways:
            if not any(_beats(other, piece) for _, other in kept):
                kept = [way for way in kept if not _beats(piece, way[1])]
                kept.append((codec, piece))
        return kept

    def _choose_units(self, pieces: list[_Piece], *, with_tensors: bool) -> dict[str, float]:
        """What each measure is counted in: its ceiling, or else the most that one choice takes."""
        most = {m: max((p[m] for p in pieces if m in p), default=0.0) for m in self._needed}
        if with_tensors:
            sizes = (tensor.size_bytes for tensor in self.problem.tensors)
            most["weights"] = max(most["weights"], *sizes, 0.0)
        if BUSY[0] in most:
            most |= dict.fromkeys(BUSY, max(most[m] for m in BUSY))
        return {m: self._ceilings.get(m, value) or value or 1.0 for m, value in most.items()}

    def _pay(self, piece: _Piece, literal: Terms) -> None:
        for measure, value in piece.items():
            _add(self.terms[measure], literal, value / self._units[measure])

    def _place(self, choice: Mapping[Side, _Piece | None]) -> Terms:
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

    def _cross(self, tensor: Tensor, leaves: Side, ways: list[tuple[Codec, _Piece]]) -> _Choices:
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
            return [(codec.name, None) for codec, _ in ways]
        choices: _Choices = []
        for codec, piece in ways:
            column = self.program.column(integer=len(ways) > 1)
            choices.append((codec.name, column))
            self._pay(piece, {column: 1.0})
        for need in needs:
            row = {column: 1.0 for _, column in choices if column is not None}
            self.program.at_least_zero(_sum(row, need, -1.0))
        return choices

    def _switch(self, piece: _Piece) -> list[int]:
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
                self.program.at_least_zero(_sum({column: 1.0}, self.terms[measure], -1.0))
            return {column: 1.0}
        if use == DEADLINE and self._spread is not None:
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


def _ceilings(caps: Mapping[str, float]) -> dict[str, float]:
    """The most that any choice may take of a measure."""
    ceilings: dict[str, float] = {}
    for name, cap in caps.items():
        for measure in MADE_OF[name]:
            most = cap * (1 + 2 * LIMIT_SLACK)
            ceilings[measure] = min(most, ceilings.get(measure, most))
    return ceilings


def _beats(one: _Piece, other: _Piece) -> bool:
    return all(value <= other.get(measure, 0.0) for measure, value in one.items())


def _not(literal: Terms) -> Terms:
    return _sum({ONE: 1.0}, literal, -1.0)


def _sum(one: Terms, other: Terms, factor: float = 1.0) -> dict[int, float]:
    total = dict(one)
    _add(total, other, factor)
    return total


def _add(total: dict[int, float], other: Terms, factor: float = 1.0) -> None:
    for column, value in other.items():
        total[column] = total.get(column, 0.0) + factor * value


def value_of(terms: Terms, columns: Sequence[float]) -> float:
    """A sum of columns, of which these are the values."""
    return sum(value * columns[column] for column, value in terms.items())
