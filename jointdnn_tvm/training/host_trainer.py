"""Trains a network in this process, on this machine's CPU."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.errors import DivergedError
from jointdnn_tvm.passes.keep_groups_apart import KeepGroupsApart
from jointdnn_tvm.runtime.accuracy import right_answers
from jointdnn_tvm.runtime.finite import is_finite
from jointdnn_tvm.runtime.masks import draw_masks
from jointdnn_tvm.targets import TargetProfile, load_target
from jointdnn_tvm.training.check_arrays import check_array, check_classes
from jointdnn_tvm.training.step import TrainingStep

Array = np.ndarray[Any, Any]


class HostTrainer:
    """A compiled step and its state. One thread at a time.

    Raises:
        BuildError: the step cannot be compiled for this machine.
    """

    def __init__(
        self, step: TrainingStep, *, seed: int = 0, profile: TargetProfile | None = None
    ) -> None:
        self._step = step
        self._seed = seed
        self.steps = 0
        """How many steps were taken."""
        self.link_bytes = 0
        """What crossed a link so far: nothing."""
        with tempfile.TemporaryDirectory(prefix="jointdnn-train-") as folder:
            path = Path(folder) / "step.so"
            apart = tvm.transform.Sequential([KeepGroupsApart()])  # as when split: the same bits
            module = apart(step.grouped)
            weights = compile_library(module, profile or load_target("host"), path)["main"]
            machine = relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())
        self._run = machine["main"]
        self._fixed = [tvm.runtime.tensor(weight.of(step.weights)) for weight in weights]
        self._state = [tvm.runtime.tensor(step.weights[name]) for name in step.state]

    def step(
        self, inputs: Mapping[str, Array], label: Array | None = None, *, learning_rate: float
    ) -> float:
        """Takes a step and returns the loss before it.

        Raises:
            RunError: an input or the labels have another shape or dtype, or there is no such class.
            DivergedError: the loss or a weight would be no finite number. The step is not taken.
        """
        number = self.steps + 1
        first, state, _ = self._results(inputs, label, learning_rate)
        loss = float(first.numpy())
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} in step {number}")
        for name, array in zip(self._step.state, state, strict=True):
            if not is_finite(np.from_dlpack(array)):
                raise DivergedError(f"in step {number} '{name}' would leave the finite numbers")
        self._state = state
        self.steps = number
        return loss

    def evaluate(self, inputs: Mapping[str, Array], label: Array | None = None) -> dict[str, float]:
        """As that of a `Trainer`, by a step that is not taken.

        Raises:
            RunError: as `step` does.
        """
        loss, _, scores = self._results(inputs, label, 0.0)
        result = {"loss": float(loss.numpy())}
        if scores and label is not None:
            assert self._step.label is not None
            assert self._step.label.class_axis is not None
            right = right_answers(scores[0].numpy(), label, self._step.label.class_axis)
            result["accuracy"] = float(right.mean())
        return result

    def _results(
        self, inputs: Mapping[str, Array], label: Array | None, learning_rate: float
    ) -> tuple[Any, list[Any], list[Any]]:
        """The loss of the next step, the state after it, and scores of classes."""
        number = self.steps + 1
        given = [*self._given(inputs, label, number), *self._numbers(learning_rate, number)]
        results = self._run(*map(tvm.runtime.tensor, given), *self._state, *self._fixed)
        loss, *others = (results[i] for i in range(len(results)))
        count = len(self._state)
        return loss, others[:count], others[count:]

    def _given(self, inputs: Mapping[str, Array], label: Array | None, number: int) -> list[Array]:
        step = self._step
        given = [check_array(inputs.get(i.name), i.name, i.shape, i.dtype) for i in step.inputs]
        masks = draw_masks(step.masks, self._seed, number)
        given += [masks[mask.name] for mask in step.masks]
        if step.label is not None:
            spec = step.label
            given.append(check_array(label, spec.name, spec.shape, spec.dtype))
            if spec.classes is not None:
                check_classes(given[-1], spec.name, spec.classes)
        return given

    def _numbers(self, learning_rate: float, number: int) -> list[Array]:
        values = self._step.values(learning_rate, number)
        return [np.asarray(values[name], np.float32) for name in self._step.numbers]

    def weights(self) -> dict[str, Array]:
        """The trained weights and running statistics as they are now, as the file has them."""
        state = dict(zip(self._step.state, self._state, strict=True))
        return {
            tensor.source: tensor.form.undo(state[tensor.name].numpy())
            for tensor in self._step.stored
        }
