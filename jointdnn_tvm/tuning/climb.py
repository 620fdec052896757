"""Search by steps: from the best choice so far to the best of its neighbours, while that gains."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from jointdnn_tvm.passes.kernels.choice import Choice

_STEP = 0.01  # of the time: a step that gains less is noise

Frozen = tuple[tuple[str, int], ...]


class Climb:
    """`ask` for choices to try, `tell` what each takes, until `ask` has none.

    Times are shares of the rule's, so that those of different moments compare.
    """

    def __init__(
        self, starts: Sequence[Choice], neighbours: Callable[[Choice], Sequence[Choice]]
    ) -> None:
        self._neighbours = neighbours
        self._told: dict[Frozen, float] = {}
        self._front = list(starts)
        self._reached = math.inf

    def ask(self) -> list[Choice]:
        """What to try next, all of it; nothing when no step gains any more."""
        while not (left := [c for c in self._front if _frozen(c) not in self._told]):
            choice, share = self.best
            if share > self._reached * (1 - _STEP):
                return []
            self._reached = share
            self._front = list(self._neighbours(choice))
        return left

    def tell(self, choice: Choice, share: float) -> None:
        """How much of the rule's time a choice takes; infinite for one that fails."""
        self._told[_frozen(choice)] = share

    @property
    def best(self) -> tuple[Choice, float]:
        """The fastest choice told of, and its share of the rule's time."""
        frozen, share = min(self._told.items(), key=lambda item: item[1])
        return dict(frozen), share

    @property
    def tried(self) -> int:
        """How many choices were told of."""
        return len(self._told)


def _frozen(choice: Choice) -> Frozen:
    return tuple(sorted(choice.items()))
