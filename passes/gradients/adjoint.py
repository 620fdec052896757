"""One call of the forward pass as its gradient sees it, and what all gradients share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import relax

from jointdnn_tvm.passes.layouts import dims, rank

op = relax.op


@dataclass(frozen=True)
class Adjoint:
    """A call, the variable that holds its result, and the gradient of the loss by that result.

    `gradient` has the shape and dtype of `result`; where the result is a tuple, it is a list with
    a gradient for each field, None for one that does not reach the loss.
    """

    call: Any
    result: Any
    gradient: Any
    emit: Callable[[Any], Any]
    """Binds an expression to a variable: what is used twice, or whose shape is asked for."""

    @property
    def args(self) -> Sequence[Any]:
        """The operands."""
        return list(self.call.args)

    @property
    def attrs(self) -> Any:
        """The attributes of the call."""
        return self.call.attrs

    def number(self, value: float) -> Any:
        """A constant of the dtype of the first operand."""
        return relax.const(value, str(self.args[0].ty.dtype))

    def axes(self) -> list[int]:
        """The attribute `axis` as a list of axes of the first operand, all where there is none."""
        count, given = rank(self.args[0]), self.attrs.axis
        if given is None:
            return list(range(count))
        listed = given if hasattr(given, "__len__") else [given]
        return [int(axis) % count for axis in listed]

    def fit(self, gradient: Any, operand: Any) -> Any:
        """Sums a gradient over the dimensions along which its operand was broadcast."""
        gradient = self.emit(gradient)
        have, want = dims(gradient), dims(operand)
        lead = len(have) - len(want)
        summed = [*range(lead)]
        summed += [lead + i for i, extent in enumerate(want) if extent != have[lead + i]]
        if not summed:
            return gradient
        return op.reshape(op.sum(gradient, summed, keepdims=True), want)


Rule = Callable[[Adjoint], Sequence[Any]]
"""Gives the gradient by each operand, None for one that has none; a list where it is a tuple."""


def elements(shape: Sequence[int], axes: Sequence[int]) -> int:
    """How many elements lie along these axes."""
    return math.prod(shape[axis] for axis in axes)
