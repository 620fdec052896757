"""What a problem leaves to choose from, and what each choice takes, in sane units.

Only measures that the target or a limit is made of are counted, each in a unit near the most that
a plan may take of it, so that the tolerances of a solver in floats mean the same at any scale.
Gone are choices that are over a limit by themselves, and ways for a tensor to cross that another
one beats in every measure.
"""

from __future__ import annotations

from collections.abc import Mapping

from jointdnn_tvm.placement.measures import BUSY, MADE_OF, Measures
from jointdnn_tvm.placement.problem import SIDES, Operator, Problem, Side, Tensor
from jointdnn_tvm.placement.solution import LIMIT_SLACK

PEAK = "max_mobile_peak_bytes"
Piece = Mapping[str, float]
Ways = list[tuple[str, Piece]]
"""Codecs by name, with what crossing by each takes."""


class Choices:
    """The choices of a problem, when ``target`` (an objective or a limit) is to be least.

    ``at_most`` is a value of the target that is known to be possible. ``units`` says how much
    (s, J, bytes) one of each measure is.
    """

    def __init__(self, problem: Problem, target: str, at_most: float | None = None) -> None:
        self._measures = Measures(problem, float)
        uses = (target, *problem.limits.active)
        self._needed = tuple(dict.fromkeys(m for use in uses for m in MADE_OF[use]))
        self._ceilings = _ceilings(problem, target, at_most)
        sides = [{side: self._operator(o, side) for side in SIDES} for o in problem.operators]
        ways = {(t.name, side): self._ways(t, side) for t in problem.tensors for side in SIDES}
        switch = self._used(self._measures.switch())
        pieces = [piece for choice in sides for piece in choice.values() if piece is not None]
        pieces += [piece for choice in ways.values() for _, piece in choice]
        self.units = self._choose_units([*pieces, switch], problem, with_tensors=PEAK in uses)
        self.sides = [
            {side: None if piece is None else self._scaled(piece) for side, piece in choice.items()}
            for choice in sides
        ]
        self.ways = {
            key: [(codec, self._scaled(piece)) for codec, piece in choice]
            for key, choice in ways.items()
        }
        self.switch = self._scaled(switch)

    def _used(self, piece: Piece) -> Piece:
        return {m: piece[m] for m in self._needed if piece.get(m)}

    def _scaled(self, piece: Piece) -> Piece:
        return {measure: value / self.units[measure] for measure, value in piece.items()}

    def _fits(self, piece: Piece) -> bool:
        """Whether a choice is within every limit by itself."""
        return all(v <= self._ceilings[m] for m, v in piece.items() if m in self._ceilings)

    def _operator(self, operator: Operator, side: Side) -> Piece | None:
        piece = self._measures.operator(operator, side)
        used = None if piece is None else self._used(piece)
        return used if used is not None and self._fits(used) else None

    def _ways(self, tensor: Tensor, leaves: Side) -> Ways:
        """The codecs by which a tensor may leave a side."""
        kept: Ways = []
        for codec in tensor.encodings:
            piece = self._used(self._measures.crossing(codec, leaves))
            if self._fits(piece) and not any(_beats(other, piece) for _, other in kept):
                kept = [way for way in kept if not _beats(piece, way[1])]
                kept.append((codec.name, piece))
        return kept

    def _choose_units(
        self, pieces: list[Piece], problem: Problem, *, with_tensors: bool
    ) -> dict[str, float]:
        """The most that a plan may take, or else the most that one choice takes."""
        most = {m: max((p[m] for p in pieces if m in p), default=0.0) for m in self._needed}
        if with_tensors:
            most["weights"] = max([most["weights"], *(t.size_bytes for t in problem.tensors)])
        if BUSY[0] in most:
            most |= dict.fromkeys(BUSY, max(most[m] for m in BUSY))
        return {m: self._ceilings.get(m, value) or value or 1.0 for m, value in most.items()}


def _ceilings(problem: Problem, target: str, at_most: float | None) -> dict[str, float]:
    """The most that any plan may take of a measure."""
    caps = list(problem.limits.active.items())
    if at_most is not None:
        caps.append((target, at_most))
    ceilings: dict[str, float] = {}
    for name, cap in caps:
        for measure in MADE_OF[name]:
            most = cap * (1 + 2 * LIMIT_SLACK)
            ceilings[measure] = min(most, ceilings.get(measure, most))
    return ceilings


def _beats(one: Piece, other: Piece) -> bool:
    return all(value <= other.get(measure, 0.0) for measure, value in one.items())
