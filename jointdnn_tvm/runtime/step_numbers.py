"""The scalars of a step that depend on its number and the learning rate alone, in float64."""

from __future__ import annotations

from dataclasses import dataclass

SUM_GOES_ON, UPDATE_IS_DUE = "sum_goes_on", "update_is_due"
"""Of several steps whose mean gradient moves the weights: not the first, and the last."""


@dataclass(frozen=True)
class StepNumbers:
    """What the updates of a step take beside weights and gradients."""

    betas: tuple[float, float] | None = None
    """How much the means of Adam, and of its kin, keep of what they were."""
    accumulate: int = 1
    """The mean gradient of so many steps moves the weights, in the last of them."""

    def __call__(self, learning_rate: float, step: int) -> dict[str, float]:
        """The numbers of a step, counted from 1, by their names."""
        numbers = {"learning_rate": learning_rate}
        if self.betas is not None:  # the means started from 0: undo that
            first, second = self.betas
            update = (step - 1) // self.accumulate + 1
            numbers["step_size"] = learning_rate / (1 - first**update)
            numbers["square_correction"] = (1 - second**update) ** -0.5
        if self.accumulate > 1:
            numbers[SUM_GOES_ON] = float((step - 1) % self.accumulate > 0)
            numbers[UPDATE_IS_DUE] = float(step % self.accumulate == 0)
        return numbers
