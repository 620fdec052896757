"""Bundles that train small networks, and runs of them, for the tests of several modules."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.graph import Placement
from jointdnn_tvm.placement import Side
from jointdnn_tvm.runtime.trainer import Trainer
from jointdnn_tvm.targets import load_target
from jointdnn_tvm.training.build_training import build_training
from jointdnn_tvm.training.host_trainer import HostTrainer
from jointdnn_tvm.training.losses import CrossEntropy
from jointdnn_tvm.training.optimizers import Adam, AdamW, Optimizer, Sgd
from jointdnn_tvm.training.residuals import gradients
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.step_tensors import step_tensors
from jointdnn_tvm.training.trainable import load_trainable
from tests.training_models import TASKS, Task, small_mlp

Array = np.ndarray[Any, Any]

MLP = Task(small_mlp, "x", (4, 6), 3)
RATE = 0.05


@dataclass(frozen=True)
class Case:
    """A network and how it is trained."""

    task: Task
    optimizer: Optimizer
    batch_norm: Any = "frozen"
    clip_norm: float | None = None
    accumulate: int = 1

    def step(self, folder: Path) -> TrainingStep:
        task = self.task
        network = load_trainable(
            task.model(folder), {task.input: task.shape}, batch_norm=self.batch_norm, dropout=True
        )
        return training_step(
            *(network, CrossEntropy(), self.optimizer),
            clip_norm=self.clip_norm,
            accumulate=self.accumulate,
        )


CASES = {
    "mlp": Case(MLP, Adam()),
    "mlp-sgd": Case(MLP, Sgd()),
    "mlp-accumulated": Case(MLP, Adam(), clip_norm=0.5, accumulate=3),
    "small_cnn": Case(TASKS["small_cnn"], Sgd(momentum=0.9), batch_norm="batch"),
    "transformer": Case(TASKS["transformer"], AdamW(), clip_norm=1.0),
}


def groups(step: TrainingStep) -> list[str]:
    return [group.name for group in step.graph.groups]


def all_on(step: TrainingStep, side: Side) -> Placement:
    return dict.fromkeys(groups(step), side)


def in_turn(step: TrainingStep) -> Placement:
    """One group here, the next one there."""
    sides: tuple[Side, Side] = ("mobile", "cloud")
    return {name: sides[index % 2] for index, name in enumerate(groups(step))}


def random_runs(step: TrainingStep, seed: int, most: int = 16) -> Placement:
    """Runs of groups that change sides at random, up to so many."""
    draw = random.Random(seed)
    names = groups(step)
    cuts = {0, *draw.sample(range(1, len(names)), min(draw.randint(1, most - 1), len(names) - 1))}
    side: Side = draw.choice(["mobile", "cloud"])
    placement: dict[str, Side] = {}
    for index, name in enumerate(names):
        if index in cuts:
            side = "cloud" if side == "mobile" else "mobile"
        placement[name] = side
    return placement


def activations(step: TrainingStep) -> list[str]:
    """Tensors of floats that groups make for the loss."""
    names = step_tensors(step)
    apart = {*gradients(step), *names.new_state, names.loss}
    return [
        tensor.name
        for tensor in step.graph.tensors
        if tensor.producer and tensor.dtype == "float32" and tensor.shape
        if tensor.name not in apart
    ]


def lossy(step: TrainingStep, codec: str) -> dict[str, str]:
    """That codec for all activations and gradients."""
    large = [t.name for t in step.graph.tensors if t.name in gradients(step) and t.shape]
    return dict.fromkeys([*activations(step), *large], codec)


def build(step: TrainingStep, placement: Placement, **options: Any) -> Bundle:
    """For this machine's own CPU on both sides."""
    host = load_target("host")
    return build_training(step, placement, mobile=host, cloud=host, **options)


def train(trainer: Trainer | HostTrainer, task: Task, steps: int) -> list[float]:
    """Go on to so many steps, each with a batch and a learning rate of its own."""
    losses = []
    while trainer.steps < steps:
        number = trainer.steps
        inputs, labels = task.batch(number)
        rate = RATE / (1 + number)
        losses.append(trainer.step({task.input: inputs}, labels, learning_rate=rate))
    return losses


def same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    """Bit for bit."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), name
