"""Why an answer is as it is: what it pays for, what else there was, and when that would change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jointdnn_tvm.placement.alternatives import Alternative, Move, baselines, moves
from jointdnn_tvm.placement.breakdown import (
    Crossing,
    Part,
    breakdown,
    busy_seconds,
    crossings,
)
from jointdnn_tvm.placement.limit_use import LimitUse, limit_uses
from jointdnn_tvm.placement.plan_changes import Region, plan_changes
from jointdnn_tvm.placement.problem import Problem
from jointdnn_tvm.placement.solve import Answer, solve
from jointdnn_tvm.placement.what_if import Sample, what_if

FORMAT = "jointdnn-explanation/1"
_SAMPLE_LIMIT_S = 10.0  # there are eight of them


@dataclass(frozen=True)
class Explanation:
    """An answer and why: seconds, joules and bytes as in `Answer`.

    ``optimum`` is the least objective within the limits: the answer's own, unless its placement
    was given. ``busy_s`` is how long a query keeps each resource busy. ``changes`` holds the
    regions of each condition; with limits, blocks or for throughput, where plans cannot be tabled,
    it is None and ``samples`` holds the plans at half and twice of each condition instead.
    """

    answer: Answer
    objective: str
    optimum: float
    parts: Mapping[str, Part]
    crossings: tuple[Crossing, ...]
    busy_s: Mapping[str, float]
    limits: Mapping[str, LimitUse]
    moves: tuple[Move, ...]
    baselines: Mapping[str, Alternative]
    changes: Mapping[str, tuple[Region, ...]] | None
    samples: Mapping[str, tuple[Sample, ...]] | None

    @property
    def bottleneck(self) -> str:
        """The resource that is busy longest."""
        return max(self.busy_s, key=lambda name: self.busy_s[name])

    def to_json(self) -> dict[str, Any]:
        """The explanation as a ``jointdnn-explanation/1`` document."""
        return {
            "format": FORMAT,
            "status": self.answer.status,
            **asdict(self),
            "bottleneck": self.bottleneck,
        }


def explain(
    problem: Problem, answer: Answer | None = None, *, time_limit_s: float = 60.0
) -> Explanation:
    """Explain an answer of the problem, by default the optimum.

    ``time_limit_s`` is for each solve, of which limits and throughput need several. Raises what
    `solve` does: `InfeasibleError` when no placement meets the limits.
    """
    answer = answer or solve(problem, time_limit_s)
    given = answer.bound is None
    optimum = solve(problem, time_limit_s).objective if given else answer.objective
    parts = breakdown(problem, answer.placement, answer.codecs)
    tabled = not (problem.limits.active or problem.blocks or problem.objective == "throughput")
    return Explanation(
        answer=answer,
        objective=problem.objective,
        optimum=optimum,
        parts=parts,
        crossings=crossings(problem, answer.placement, answer.codecs),
        busy_s=busy_seconds(parts),
        limits=limit_uses(problem, answer, optimum, time_limit_s),
        moves=moves(problem, answer),
        baselines=baselines(problem, answer),
        changes=plan_changes(problem, answer) if tabled else None,
        samples=None if tabled else what_if(problem, answer, min(time_limit_s, _SAMPLE_LIMIT_S)),
    )
