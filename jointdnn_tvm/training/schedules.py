"""Learning rates that change from step to step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from jointdnn_tvm.errors import ModelError

SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}
"""The share of the full rate, by the share of the steps that is done."""


@dataclass(frozen=True)
class Schedule:
    """A rate that rises in equal parts for some steps, then falls as a shape has it, to 0.

    As the schedules of Hugging Face's `transformers` have it.
    """

    rate: float
    steps: int
    shape: str = "constant"
    warmup: int = 0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ModelError(f"no schedule is named '{self.shape}'; there are {', '.join(SHAPES)}")
        if not 0 <= self.warmup <= self.steps:
            raise ModelError(
                f"a warm-up of {self.warmup} steps is no part of {self.steps}; give fewer"
            )

    def __call__(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        return self.rate * SHAPES[self.shape]((step - self.warmup) / (self.steps - self.warmup))
