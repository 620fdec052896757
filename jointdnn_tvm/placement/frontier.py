"""A problem as a walk through its operators, with no more than must be known of what was placed.

That is the side of the last operator, and where each tensor is that is still to be read: on the
mobile, on the cloud, or on both. A network whose branches are few and short, as most are, has few
such states before each operator, whatever its length. What is carried may be read before it is
known where it lives: until then, that is where it was read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from operator import add
from typing import NamedTuple

from jointdnn_tvm.placement.choices import Choices
from jointdnn_tvm.placement.measures import Piece
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, SIDES, Problem, Side, Tensor

UNIT = 1 << 54
"""Integers that make one unit of a measure: what is equal stays so when it is added up."""

_MOST_STEPS = 20_000  # in all
_BOTH = "both"

_Places = tuple[tuple[str, str], ...]  # where each tensor is
_Codecs = tuple[tuple[str, str], ...]  # the codec of each tensor that crosses
_Vector = tuple[int, ...]
_Option = tuple[_Vector, _Codecs]


class TooWideError(Exception):
    """There are too many steps to look at each."""


class Step(NamedTuple):
    """An operator on a side, and what crosses then, each tensor by a codec.

    ``state`` is the number of the state that it leads to, ``takes`` what it adds to each measure.
    """

    state: int
    side: Side
    codecs: _Codecs
    takes: _Vector


class Frontier:
    """All walks: ``layers`` are the steps from each state before each operator.

    The steps of the last operator lead to one state, 0. They take ``measures``, in units of
    ``choices``; a switch takes ``toll`` more of the first. Raises `TooWideError`.
    """

    def __init__(
        self, problem: Problem, choices: Choices, measures: Sequence[str], toll: float
    ) -> None:
        self._problem, self._choices, self._measures = problem, choices, measures
        switch = self._vector(choices.switch)
        self._switch: list[_Option] = [((switch[0] + round(toll * UNIT), *switch[1:]), ())]
        self._reads: dict[int, list[Tensor]] = defaultdict(list)
        self._makes: dict[int, list[Tensor]] = defaultdict(list)
        self._reads_early: dict[int, list[Tensor]] = defaultdict(list)  # before it is made anew
        self._last_reads: dict[str, int] = {}
        order = problem.positions
        for tensor in problem.tensors:
            made = -1 if tensor.producer is None else order[tensor.producer]
            readers = {order[name] for name in tensor.consumers} - {made}
            for reader in readers:
                (self._reads if reader > made else self._reads_early)[reader].append(tensor)
            self._last_reads[tensor.name] = max(readers, default=-1)
            if tensor.producer is not None:
                self._makes[made].append(tensor)
        self.layers = self._list_layers()

    def _list_layers(self) -> list[list[list[Step]]]:
        first = MOBILE if self._problem.starts_on_mobile else None
        inputs = [t.name for t in self._problem.tensors if t.producer is None and t.consumers]
        states: dict[tuple[str | None, _Places], int] = {
            (first, tuple((name, MOBILE) for name in inputs)): 0
        }
        layers, count = [], 0
        for position in range(len(self._problem.operators)):
            after: dict[tuple[str | None, _Places], int] = {}
            layer = []
            for before, places in states:
                steps = []
                for side in SIDES:
                    state, options = self._step(before, places, position, side)
                    # What takes twice as much as any plan may is in none.
                    options = [option for option in options if max(option[0]) <= 2 * UNIT]
                    if options:
                        number = after.setdefault(state, len(after))
                        steps += [Step(number, side, codecs, takes) for takes, codecs in options]
                layer.append(steps)
                count += len(steps)
                if count > _MOST_STEPS:
                    raise TooWideError
            layers.append(layer)
            states = after
        return layers

    def _step(
        self, before: str | None, places: _Places, position: int, side: Side
    ) -> tuple[tuple[str | None, _Places], list[_Option]]:
        """The state once an operator is on a side, and the ways to get there."""
        piece = self._choices.sides[position][side]
        options: list[_Option] = [] if piece is None else [(self._vector(piece), ())]
        where = dict(places)
        comes_back = side == CLOUD and self._problem.ends_on_mobile
        is_last = position + 1 == len(self._problem.operators)
        if before not in (None, side):
            options = _joined(options, self._switch)
        if comes_back and is_last:
            options = _joined(options, self._switch)
        for tensor in self._reads[position]:
            if where[tensor.name] not in (side, _BOTH):
                leaves = CLOUD if side == MOBILE else MOBILE
                options = _joined(options, self._crossing(tensor, leaves))
                where[tensor.name] = _BOTH
            if self._last_reads[tensor.name] == position:
                del where[tensor.name]
        for tensor in self._reads_early[position]:
            where[tensor.name] = side if where.get(tensor.name, side) == side else _BOTH
        for tensor in self._makes[position]:
            needed_on = where.pop(tensor.name, side)
            if needed_on != side or (comes_back and tensor.output):
                options = _joined(options, self._crossing(tensor, side))
                needed_on = _BOTH
            if self._last_reads[tensor.name] > position:
                where[tensor.name] = needed_on
        return (None if is_last else side, tuple(where.items())), options

    def _crossing(self, tensor: Tensor, leaves: Side) -> list[_Option]:
        ways = self._choices.ways[tensor.name, leaves]
        return [(self._vector(piece), ((tensor.name, codec),)) for codec, piece in ways]

    def _vector(self, piece: Piece) -> _Vector:
        return tuple(round(piece.get(measure, 0.0) * UNIT) for measure in self._measures)


def _joined(ones: list[_Option], others: list[_Option]) -> list[_Option]:
    """Every one with every other."""
    if len(ones) * len(others) > _MOST_STEPS:
        raise TooWideError
    return [
        (tuple(map(add, taken, more)), codecs + used)
        for taken, codecs in ones
        for more, used in others
    ]
