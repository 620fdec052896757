"""Gradient accumulation: the mean gradient of several steps moves the weights once.

The function of a step stays the same for all of them, so that it can be placed and compiled like
any other: two numbers tell it whether the sum begins anew, and whether the weights move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvm import relax

op = relax.op

_GOES_ON, _DUE = "sum_goes_on", "update_is_due"


@dataclass(frozen=True)
class Accumulation:
    """Over `count` steps; over one, nothing changes."""

    count: int = 1

    def update_number(self, step: int) -> int:
        """Which update a step is part of; both are counted from 1."""
        return (step - 1) // self.count + 1

    def numbers(self, step: int) -> dict[str, float]:
        """The inputs of a step, counted from 1."""
        if self.count == 1:
            return {}
        return {
            _GOES_ON: float((step - 1) % self.count > 0),
            _DUE: float(step % self.count == 0),
        }

    def total(self, before: Any, gradient: Any, numbers: Mapping[str, Any]) -> Any:
        """The sum of the gradients so far."""
        return before * numbers[_GOES_ON] + gradient

    def mean(self, total: Any) -> Any:
        """Of the gradients, once the sum is whole."""
        return total * relax.const(1 / self.count, str(total.ty.dtype))

    def when_due(self, new: Any, old: Any, numbers: Mapping[str, Any]) -> Any:
        """The new value in the last of the steps, the old one before."""
        due = op.greater(numbers[_DUE], relax.const(0, str(old.ty.dtype)))
        return op.where(due, new, old)
