"""Epochs: batch after batch through whatever takes the steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from jointdnn_tvm.training.batches import Batches
from jointdnn_tvm.training.examples import Examples

Array = np.ndarray[Any, Any]


class Trainer(Protocol):
    """Takes steps, on one device or several."""

    @property
    def steps(self) -> int:
        """How many were taken."""

    @property
    def link_bytes(self) -> int:
        """How much crossed a link so far, both ways."""

    def step(
        self, inputs: Mapping[str, Array], label: Array | None = None, *, learning_rate: float
    ) -> float:
        """Takes a step and returns the loss before it."""

    def evaluate(self, inputs: Mapping[str, Array], label: Array | None = None) -> dict[str, float]:
        """The `loss`, and where it is one of classes the `accuracy`; nothing is learned."""

    def weights(self) -> dict[str, Array]:
        """The trained weights and running statistics as they are now, as the file has them."""


@dataclass(frozen=True)
class StepTaken:
    """A step that was taken."""

    number: int
    """Counted from 1, as epochs are."""
    epoch: int
    loss: float
    seconds: float
    link_bytes: int


def train_epochs(
    trainer: Trainer,
    batches: Batches,
    rate: Callable[[int], float],
    steps: int,
    report: Callable[[StepTaken], None] = lambda _: None,
) -> None:
    """Goes on from the steps that the trainer has taken, until there are so many.

    Args:
        trainer: takes the steps.
        batches: what each of them is given.
        rate: the learning rate of each, counted from 0.
        steps: how many there shall be.
        report: told of each.

    Raises:
        DivergedError: a loss or a weight left the finite numbers; the trainer keeps the state
            before that step.
    """
    for step in range(trainer.steps, steps):
        inputs, label = batches.of(step)
        crossed, started = trainer.link_bytes, time.perf_counter()
        loss = trainer.step(inputs, label, learning_rate=rate(step))
        seconds = time.perf_counter() - started
        epoch = batches.epoch(step) + 1
        report(StepTaken(step + 1, epoch, loss, seconds, trainer.link_bytes - crossed))


def evaluate_examples(trainer: Trainer, examples: Examples) -> dict[str, float]:
    """What a trainer finds of all examples, batch by batch, as a mean.

    The last batch is filled up with the first examples, which then count twice.
    """
    count, size = len(examples), examples.batch_size
    found = [
        trainer.evaluate(*examples.pick(np.arange(first, first + size) % count))
        for first in range(0, count, size)
    ]
    return {name: statistics.fmean(of_batch[name] for of_batch in found) for name in found[0]}
