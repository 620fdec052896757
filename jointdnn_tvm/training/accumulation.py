"""Gradient accumulation: the mean gradient of several steps moves the weights once.

The function of a step stays the same for all of them, so that it can be placed and compiled like
any other: two numbers tell it whether the sum begins anew, and whether the weights move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvm import relax

from jointdnn_tvm.runtime.step_numbers import SUM_GOES_ON, UPDATE_IS_DUE

op = relax.op


@dataclass(frozen=True)
class Accumulation:
    """Over `count` steps; over one, nothing changes."""

    count: int = 1

    def total(self, before: Any, gradient: Any, numbers: Mapping[str, Any]) -> Any:
        """The sum of the gradients so far."""
        return before * numbers[SUM_GOES_ON] + gradient

    def mean(self, total: Any) -> Any:
        """Of the gradients, once the sum is whole."""
        return total * relax.const(1 / self.count, str(total.ty.dtype))

    def when_due(self, new: Any, old: Any, numbers: Mapping[str, Any]) -> Any:
        """The new value in the last of the steps, the old one before."""
        due = op.greater(numbers[UPDATE_IS_DUE], relax.const(0, str(old.ty.dtype)))
        return op.where(due, new, old)
