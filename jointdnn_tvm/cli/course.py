"""The course of training, told while it goes on."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jointdnn_tvm.cli.console import Progress, note
from jointdnn_tvm.cli.units import quantity

if TYPE_CHECKING:
    from jointdnn_tvm.training.epochs import StepTaken


class Course:
    """What is said of each epoch while training goes on, and of all of them in the end.

    `validate` tells what the network is like after an epoch, on examples that it does not learn.
    """

    def __init__(
        self,
        steps: int,
        epochs: int,
        per_epoch: int,
        report: Progress,
        validate: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        self._steps, self._epochs, self._per_epoch = steps, epochs, per_epoch
        self._report = report
        self._validate = validate
        self._taken: list[StepTaken] = []
        self._rows: list[dict[str, Any]] = []

    def took(self, step: StepTaken) -> None:
        """Take note of a step."""
        self._taken.append(step)
        self._report("training", step.number, self._steps)
        if step.number % self._per_epoch == 0 or step.number == self._steps:
            row: dict[str, Any] = {"epoch": step.epoch, **_summary(self._taken)}
            if self._validate is not None:
                row["validation"] = self._validate()
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
    """Loss, time and bytes of a step, and how the validation went."""
    seconds, crossed = quantity(row["step_s"], "s"), quantity(row["link_bytes"], "B")
    judged = ", ".join(f"{name} {value:.4g}" for name, value in row.get("validation", {}).items())
    told = f"loss {row['loss']:.4g}, {seconds} a step, {crossed} a step over a link"
    return f"{told}; validation: {judged}" if judged else told
