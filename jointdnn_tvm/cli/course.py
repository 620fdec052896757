"""The course of training, told while it goes on."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jointdnn_tvm.cli.console import Progress, note
from jointdnn_tvm.cli.units import quantity

if TYPE_CHECKING:
    from jointdnn_tvm.training.epochs import StepTaken


class Course:
    """What is said of each epoch while training goes on, and of all of them in the end."""

    def __init__(self, steps: int, epochs: int, per_epoch: int, report: Progress) -> None:
        self._steps, self._epochs, self._per_epoch = steps, epochs, per_epoch
        self._report = report
        self._taken: list[StepTaken] = []
        self._rows: list[dict[str, Any]] = []

    def took(self, step: StepTaken) -> None:
        """Take note of a step."""
        self._taken.append(step)
        self._report("training", step.number, self._steps)
        if step.number % self._per_epoch == 0 or step.number == self._steps:
            row = {"epoch": step.epoch, **_summary(self._taken)}
            self._taken.clear()
            self._rows.append(row)
            note(f"epoch {step.epoch} of {self._epochs}: {row_text(row)}")

    def result(self) -> dict[str, Any]:
        """What the epochs were like."""
        return {"epochs": self._rows, "loss": self._rows[-1]["loss"] if self._rows else None}


def _summary(taken: Sequence[StepTaken]) -> dict[str, float]:
    return {
        "loss": statistics.fmean(step.loss for step in taken),
        "step_s": statistics.median(step.seconds for step in taken),
        "link_bytes": statistics.median(step.link_bytes for step in taken),
    }


def row_text(row: dict[str, Any]) -> str:
    """Loss, time and bytes of a step."""
    seconds, crossed = quantity(row["step_s"], "s"), quantity(row["link_bytes"], "B")
    return f"loss {row['loss']:.4g}, {seconds} a step, {crossed} a step over a link"
