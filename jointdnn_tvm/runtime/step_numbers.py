"""The scalars of a step that depend on its number and the learning rate alone, in float64."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepNumbers:
    """What an optimizer takes beside weights and gradients."""

    betas: tuple[float, float] | None = None
    """How much the means of Adam, and of its kin, keep of what they were."""

    def __call__(self, learning_rate: float, step: int) -> dict[str, float]:
        """The numbers of a step, counted from 1, by their names."""
        numbers = {"learning_rate": learning_rate}
        if self.betas is not None:  # the means started from 0: undo that
            first, second = self.betas
            numbers["step_size"] = learning_rate / (1 - first**step)
            numbers["square_correction"] = (1 - second**step) ** -0.5
        return numbers
