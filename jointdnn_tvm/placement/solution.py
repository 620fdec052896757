"""What a solver hands back: a placement with its proof, or which limits clash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.evaluate import Metrics
from jointdnn_tvm.placement.problem import Limits, Side

LIMIT_SLACK = 1e-9
"""A limit is met by up to so much more, relative: decimal costs are rarely exact in binary."""


def broken_limits(limits: Limits, metrics: Metrics) -> list[str]:
    """Each limit that a placement does not meet, with what it takes, as text."""
    return [
        f"{name} {limit:.6g} (takes {metrics.limited(name):.6g})"
        for name, limit in limits.active.items()
        if metrics.limited(name) > limit * (1 + LIMIT_SLACK)
    ]


@dataclass(frozen=True)
class Solution:
    """A placement, the codec of every tensor that may cross by one, and how good it is.

    No placement's objective is below ``bound`` (s or J; None: nothing is known); ``proved`` says
    that this one's equals it. ``codecs`` may name tensors that do not cross.
    """

    placement: dict[str, Side]
    codecs: dict[str, str]
    bound: float | None
    proved: bool
    solver: str


@dataclass(frozen=True)
class Clash:
    """A limit that cannot be met with the others, and the least value that it would need."""

    limit: str
    value: float
    least: float


class InfeasibleError(ProblemError):
    """No placement meets all limits.

    ``clashes`` are limits that cannot be met together, while all but any one of them can; each
    with the least value that it would need while the others stay.
    """

    def __init__(self, clashes: Sequence[Clash]) -> None:
        self.clashes = tuple(clashes)
        told = " or ".join(f"{c.limit} to {c.least:.6g}" for c in self.clashes)
        names = " and ".join(f"{c.limit} {c.value:.6g}" for c in self.clashes)
        super().__init__(f"no placement meets {names}: raise {told}")

    def to_json(self) -> dict[str, Any]:
        """The answer as a document of plain JSON types."""
        limits = {c.limit: {"value": c.value, "least": c.least} for c in self.clashes}
        return {"status": "infeasible", "limits": limits, "reason": str(self)}
