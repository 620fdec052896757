"""The best codecs for a placement that is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from jointdnn_tvm.placement.min_cut import codecs_of
from jointdnn_tvm.placement.problem import MOBILE, Problem, Side
from jointdnn_tvm.placement.solution import InfeasibleError
from jointdnn_tvm.placement.solve import solve


def best_codecs(problem: Problem, placement: Mapping[str, Side]) -> dict[str, str]:
    """Codecs that are best for a placement; where none meets the limits, the cheapest."""
    bound = problem.limits.active or problem.objective == "throughput"
    if bound and any(tensor.codecs for tensor in problem.tensors):
        try:
            return solve(_pinned(problem, placement)).codecs
        except InfeasibleError:
            pass
    return codecs_of(problem, dict(placement))


def _pinned(problem: Problem, placement: Mapping[str, Side]) -> Problem:
    """The problem where no operator can run elsewhere."""
    operators = tuple(
        replace(o, cloud=None) if placement[o.name] == MOBILE else replace(o, mobile=None)
        for o in problem.operators
    )
    order = problem.positions
    blocks = tuple(
        block
        for block in problem.blocks
        if all(
            placement[o.name] == block.side
            for o in problem.operators[order[block.first] : order[block.last] + 1]
        )
    )
    return replace(problem, operators=operators, blocks=blocks)
