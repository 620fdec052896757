"""What the pieces of a chain's placement add to each measure, as exact integers.

A number is read as the decimal that it is written as (0.1 is one tenth), so that ties and limits
are decided exactly. Each measure is scaled by the least common denominator of its pieces.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import accumulate
from math import lcm
from operator import add, sub

from jointdnn_tvm.placement.measures import MEASURES, Measures
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, SIDES, Problem, Side, Tensor

_ALL = (*MEASURES, "variance", "switches")  # all of them add up along a chain

Vector = tuple[int, ...]
Choice = tuple[Vector, dict[str, str]]
_Parts = dict[str, Fraction]


@lru_cache(maxsize=65536)
def decimal(value: float) -> Fraction:
    """What the writer of 0.1 meant."""
    return Fraction(str(value))


class ChainCosts:
    """The pieces of a chain, in the measures asked for."""

    def __init__(self, problem: Problem, measures: Collection[str]) -> None:
        self.problem = problem
        self.names = [name for name in _ALL if name in measures]
        self._measures = Measures(problem, decimal)
        self._into: list[list[Tensor]] = [[] for _ in problem.operators]
        self._made: list[list[Tensor]] = [[] for _ in problem.operators]
        for tensor in problem.tensors:
            if tensor.carried:  # by the operator for itself: some of its weights
                continue
            if tensor.consumers:
                self._into[problem.positions[tensor.consumers[0]]].append(tensor)
            if tensor.producer is not None:
                self._made[problem.positions[tensor.producer]].append(tensor)
        operators = {s: [self._operator(i, s) for i in range(self.count)] for s in SIDES}
        switch = self._measures.switch() | {"switches": Fraction(1)}
        crossings = {(t.name, s, c.name): self._measures.crossing(c, s)
                     for t in problem.tensors for c in t.encodings for s in SIDES}  # fmt: skip
        blocks = [(b, decimal(b.latency_s)) for b in problem.blocks]
        alone = {s: [self._latency(i, s) for i in range(self.count)] for s in SIDES}
        every_s = [value for _, value in blocks] + alone[MOBILE] + alone[CLOUD]
        ticks = lcm(*(value.denominator for value in every_s))  # a second
        one = {side: self._measures.seconds(side, Fraction(1, ticks)) for side in SIDES}
        pieces = [p for s in SIDES for p in operators[s] if p is not None]
        pieces += [switch, *crossings.values(), *one.values()]
        self.scale = {
            name: lcm(*(p[name].denominator for p in pieces if name in p)) for name in self.names
        }
        self.zero: Vector = (0,) * len(self.names)
        self.switch = self._vector(switch)
        self._crossings = {key: self._vector(parts) for key, parts in crossings.items()}
        self._sums = {s: self._prefix(operators[s]) for s in SIDES}
        self._tick = {s: self._vector(one[s]) for s in SIDES}
        self._ticks = {
            s: list(accumulate((int(v * ticks) for v in alone[s]), initial=0)) for s in SIDES
        }
        self._blocks = {
            (b.side, problem.positions[b.first], problem.positions[b.last]): int(v * ticks)
            for b, v in blocks
        }

    @property
    def count(self) -> int:
        """How many operators the chain has."""
        return len(self.problem.operators)

    def run(self, side: Side, first: int, last: int) -> Vector:
        """What a maximal run adds, without what crosses."""
        sums = self._sums[side]
        vector = tuple(map(sub, sums[last + 1], sums[first]))
        block = self._blocks.get((side, first, last))
        if block is None:
            return vector
        more = block - (self._ticks[side][last + 1] - self._ticks[side][first])
        return tuple(v + more * t for v, t in zip(vector, self._tick[side], strict=True))

    def entering(self, side: Side, position: int) -> list[list[Choice]]:
        """For each tensor that crosses when a run starts on a side, its codecs."""
        leaves = MOBILE if side == CLOUD else CLOUD
        return [self._choices(t, leaves) for t in self._into[position]
                if not self._always_down(t, leaves)
                and not (t.producer is None and side == MOBILE)]  # fmt: skip

    def leaving(self, side: Side, position: int) -> list[list[Choice]]:
        """For each output that an operator on that side must send to the mobile, its codecs."""
        return [self._choices(t, side) for t in self._made[position]
                if self._always_down(t, side)]  # fmt: skip

    def held(self, side: Side, position: int, starts: bool) -> tuple[int, int, int]:
        """Bytes on the mobile in one step: kept from it on, only in it, and only in the last."""
        ends = self.problem.ends_on_mobile
        kept = step = at_end = Fraction(0)
        for tensor in self._into[position]:
            size = decimal(tensor.size_bytes)
            if tensor.producer is None:
                continue
            if side == MOBILE and not tensor.output:
                step += size
            elif side == MOBILE and starts:  # an output that comes from the cloud
                kept, step = (kept + size, step) if ends else (kept, step + size)
            elif side == CLOUD and not starts and tensor.output and ends:
                at_end += size  # its producer is on the cloud as well
        if position == 0:
            for tensor in self.problem.tensors:
                if tensor.producer is None and tensor.output:
                    kept += decimal(tensor.size_bytes)
                elif tensor.producer is None:
                    step += decimal(tensor.size_bytes)
        for tensor in self._made[position]:
            size = decimal(tensor.size_bytes)
            if side == MOBILE:
                kept, step = (kept + size, step) if tensor.output else (kept, step + size)
            elif tensor.output and ends and not tensor.consumers:
                at_end += size
        return tuple(int(v * self.byte_scale) for v in (kept, step, at_end))  # type: ignore[return-value]

    @cached_property
    def byte_scale(self) -> int:
        """Units of a byte."""
        return lcm(*(decimal(t.size_bytes).denominator for t in self.problem.tensors))

    def _always_down(self, tensor: Tensor, made_on: Side) -> bool:
        needed = tensor.output and self.problem.ends_on_mobile
        return made_on == CLOUD and needed and tensor.producer is not None

    def _choices(self, tensor: Tensor, leaves: Side) -> list[Choice]:
        return [(self._crossings[tensor.name, leaves, c.name], {tensor.name: c.name})
                for c in tensor.encodings]  # fmt: skip

    def _latency(self, index: int, side: Side) -> Fraction:
        cost = self.problem.operators[index].cost(side)
        return Fraction(0) if cost is None else decimal(cost.latency_s)

    def _operator(self, index: int, side: Side) -> _Parts | None:
        operator = self.problem.operators[index]
        parts, cost = self._measures.operator(operator, side), operator.cost(side)
        if parts is not None and cost is not None:
            parts["variance"] = decimal(cost.spread_s) ** 2
        return parts

    def _vector(self, parts: Mapping[str, Fraction]) -> Vector:
        return tuple(int(parts.get(name, 0) * self.scale[name]) for name in self.names)

    def _prefix(self, parts: list[_Parts | None]) -> list[Vector]:
        sums = [self.zero]
        for each in parts:
            vector = self.zero if each is None else self._vector(each)
            sums.append(tuple(map(add, sums[-1], vector)))
        return sums
