"""Trains a network in this process, on this machine's CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.errors import RunError
from jointdnn_tvm.network import TensorSpec
from jointdnn_tvm.passes.keep_groups_apart import KeepGroupsApart
from jointdnn_tvm.runtime.masks import draw_masks
from jointdnn_tvm.targets import TargetProfile, load_target
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
            RunError: an input or the labels have another shape or dtype.
        """
        spec = self._step
        number = self.steps + 1
        given = [_checked(inputs.get(i.name), i) for i in spec.inputs]
        masks = draw_masks(spec.masks, self._seed, number)
        given += [masks[mask.name] for mask in spec.masks]
        if spec.label is not None:
            given.append(_checked(label, spec.label))
        numbers = spec.optimizer.numbers(learning_rate, number)
        given += [np.asarray(numbers[name], np.float32) for name in spec.numbers]
        results = self._run(*map(tvm.runtime.tensor, given), *self._state, *self._fixed)
        loss, *state = (results[i] for i in range(len(results)))
        self._state = state
        self.steps = number
        return float(loss.numpy())

    def weights(self) -> dict[str, Array]:
        """The trained weights and running statistics as they are now, as the file has them."""
        state = dict(zip(self._step.state, self._state, strict=True))
        return {
            tensor.source: tensor.form.undo(state[tensor.name].numpy())
            for tensor in self._step.stored
        }


def _checked(array: Array | None, spec: TensorSpec) -> Array:
    if array is None:
        raise RunError(f"'{spec.name}' is missing; give an array of {list(spec.shape)}")
    if array.shape != spec.shape or str(array.dtype) != spec.dtype:
        raise RunError(
            f"'{spec.name}' is {array.dtype} of {list(array.shape)}; give {spec.dtype} of "
            f"{list(spec.shape)}"
        )
    return np.ascontiguousarray(array)
