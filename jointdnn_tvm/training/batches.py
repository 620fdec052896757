"""In which order examples are trained on: another in each epoch, the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jointdnn_tvm.errors import RunError
from jointdnn_tvm.training.examples import Batch, Examples

Array = np.ndarray[Any, Any]


@dataclass
class Batches:
    """The batch of every step, whichever steps were taken before: training may stop and go on.

    What is left of an epoch's examples beyond whole batches is left out of that epoch.
    """

    examples: Examples
    seed: int = 0
    _order: tuple[int, Array] = field(default=(-1, np.empty(0, np.int64)), repr=False)

    def __post_init__(self) -> None:
        """RunError unless there is a whole batch."""
        if not self.per_epoch:
            raise RunError(
                f"a batch of {self.examples.batch_size} is more than the {len(self.examples)} "
                "examples that there are; give a smaller --batch, or more data"
            )

    @property
    def per_epoch(self) -> int:
        """How many batches an epoch has."""
        return len(self.examples) // self.examples.batch_size

    def epoch(self, step: int) -> int:
        """That of a step; both are counted from 0."""
        return step // self.per_epoch

    def of(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        epoch, size = self.epoch(step), self.examples.batch_size
        if self._order[0] != epoch:
            self._order = epoch, draw_order(len(self.examples), self.seed, epoch)
        first = step % self.per_epoch * size
        return self.examples.pick(self._order[1][first : first + size])


def draw_order(count: int, seed: int, epoch: int) -> Array:
    """The places of the examples in an epoch, counted from 0."""
    return np.random.default_rng([seed, epoch]).permutation(count)
