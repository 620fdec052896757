"""From gradients to new weights: accumulated, clipped, then handed to the optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm import relax

from jointdnn_tvm.runtime.step_numbers import StepNumbers
from jointdnn_tvm.training.accumulation import Accumulation
from jointdnn_tvm.training.optimizers import Optimizer

op = relax.op

_TOTAL = "gradients"


@dataclass(frozen=True)
class Updates:
    """What becomes of the gradients of a step."""

    optimizer: Optimizer
    accumulation: Accumulation
    clip_norm: float | None = None

    @property
    def slots(self) -> tuple[str, ...]:
        """What is remembered of each weight, in tensors of its shape that start as 0."""
        return (*self.optimizer.slots, *([_TOTAL] if self.accumulation.count > 1 else []))

    @property
    def numbers(self) -> StepNumbers:
        """The inputs of a step, of the learning rate and the number of the step."""
        return replace(self.optimizer.numbers, accumulate=self.accumulation.count)

    def append(
        self,
        builder: relax.BlockBuilder,
        gradients: Sequence[Any],
        slots: Mapping[relax.Var, Mapping[str, relax.Var]],
        numbers: Mapping[str, relax.Var],
    ) -> tuple[list[Any], list[Any]]:
        """New values of the weights, which are the keys of `slots`, and of all their slots."""
        many = self.accumulation.count > 1
        totals: Sequence[Any] = gradients
        if many:
            totals = [
                builder.emit(self.accumulation.total(own[_TOTAL], gradient, numbers))
                for own, gradient in zip(slots.values(), gradients, strict=True)
            ]
            gradients = [builder.emit(self.accumulation.mean(total)) for total in totals]
        if self.clip_norm is not None:
            gradients = _clipped(builder, gradients, self.clip_norm)
        weights, remembered = [], []
        for (weight, own), gradient, total in zip(slots.items(), gradients, totals, strict=True):
            new, kept = self.optimizer.update(weight, gradient, own, numbers)
            if many:
                new = self.accumulation.when_due(new, weight, numbers)
                due = {n: self.accumulation.when_due(v, own[n], numbers) for n, v in kept.items()}
                kept = due | {_TOTAL: total}
            weights.append(builder.emit(new, f"{weight.name}_new"))
            remembered += [builder.emit(kept[n], f"{slot.name}_new") for n, slot in own.items()]
        return weights, remembered


def _clipped(builder: relax.BlockBuilder, gradients: Sequence[Any], most: float) -> list[Any]:
    """Gradients whose norm, of all of them together, is `most` at most.

    As `torch.nn.utils.clip_grad_norm_`.
    """
    squares = [builder.emit(op.sum(op.multiply(g, g))) for g in gradients]
    total = squares[0]
    for square in squares[1:]:
        total = builder.emit(op.add(total, square))
    dtype = str(total.ty.dtype)
    above = relax.const(most, dtype) / (op.sqrt(total) + relax.const(1e-6, dtype))
    scale = builder.emit(op.minimum(above, relax.const(1, dtype)), "clipping")
    return [builder.emit(op.multiply(gradient, scale)) for gradient in gradients]
