"""A branchy graph as the chain of its segments between cut vertices.

Where one tensor alone is alive in the execution order, nothing but it ties what comes before to
what comes after. Between two such places lies a segment; the segments are a chain, whose runs can
have block costs, measured as they are wanted by `solve_lazily`.

What is given up: a segment stays whole on one side. What is kept: as the sum of its operators a
whole segment costs exactly what they cost, for its inner tensors never cross the link.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.problem import Operator, Problem, Side, SideCost, Tensor


@dataclass(frozen=True)
class Segments:
    """The chain, and the operators of each of its segments in execution order, by its name."""

    problem: Problem
    members: Mapping[str, tuple[str, ...]]

    def placement(self, sides: Mapping[str, Side]) -> dict[str, Side]:
        """The side of every operator, from those of the segments."""
        return {name: sides[segment] for segment, names in self.members.items() for name in names}


def between_cut_vertices(problem: Problem) -> Segments:
    """Collapse the branches of a problem; one that is a chain stays as it is.

    Raises `ProblemError` for a limit on the peak of the mobile's memory, which depends on the
    order within a segment, and for a segment that neither side can run whole.
    """
    if problem.is_chain:
        return Segments(problem, {o.name: (o.name,) for o in problem.operators})
    if problem.limits.max_mobile_peak_bytes is not None:
        raise ProblemError("segments hide when tensors are held: remove max_mobile_peak_bytes")
    starts = [0, *_cuts(problem), len(problem.operators)]
    runs = [problem.operators[i:j] for i, j in pairwise(starts)]
    operators = tuple(_whole(run) for run in runs)
    members = {
        o.name: tuple(member.name for member in run) for o, run in zip(operators, runs, strict=True)
    }
    segment_of = {name: segment for segment, names in members.items() for name in names}
    tensors = tuple(t for t in (_outer(t, segment_of) for t in problem.tensors) if t is not None)
    return Segments(replace(problem, operators=operators, tensors=tensors), members)


def _cuts(problem: Problem) -> list[int]:
    """The positions before which one tensor alone is alive, made by an operator."""
    order = problem.positions
    changes = [0] * (len(problem.operators) + 1)  # of the number alive, before each position
    made_by = [0] * (len(problem.operators) + 1)  # of the sum of their producers
    for tensor in problem.tensors:
        ends = [order[name] for name in tensor.consumers]
        made = -1 if tensor.producer is None else order[tensor.producer]
        if tensor.carried:  # ties all between its ends, as if two were alive
            first, last = min([made, *ends]), max([made, *ends])
            changes[first + 1] += 2
            changes[last + 1] -= 2
        elif ends:
            changes[made + 1] += 1
            changes[max(ends) + 1] -= 1
            made_by[made + 1] += made
            made_by[max(ends) + 1] -= made
    cuts: list[int] = []
    alive = makers = 0
    for position in range(len(problem.operators)):
        alive, makers = alive + changes[position], makers + made_by[position]
        # A tensor may be the only one at two places, and spans one of them at most.
        if alive == 1 and makers >= (cuts[-1] if cuts else 0):
            cuts.append(position)
    return cuts


def _whole(run: Sequence[Operator]) -> Operator:
    """A segment as one operator."""
    name = run[0].name if len(run) == 1 else f"{run[0].name} .. {run[-1].name}"
    return Operator(
        name,
        _sum([operator.mobile for operator in run]),
        _sum([operator.cloud for operator in run]),
    )


def _sum(costs: Sequence[SideCost | None]) -> SideCost | None:
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        return None
    return SideCost(
        latency_s=math.fsum(cost.latency_s for cost in known),
        energy_j=math.fsum(cost.energy_j for cost in known),
        memory_bytes=sum(cost.memory_bytes for cost in known),
        spread_s=math.hypot(*(cost.spread_s for cost in known)),
    )


def _outer(tensor: Tensor, segment_of: Mapping[str, str]) -> Tensor | None:
    """A tensor as the segments see it; None: they do not."""
    producer = None if tensor.producer is None else segment_of[tensor.producer]
    consumers = {segment_of[name]: None for name in tensor.consumers}
    consumers.pop(producer or "", None)
    if not consumers and not tensor.output and not tensor.carried:
        return None
    return replace(tensor, producer=producer, consumers=tuple(consumers))
