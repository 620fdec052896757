"""One side of a run of training: its stages, and its half of the state in two buffers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from jointdnn_tvm.errors import DivergedError, RunError
from jointdnn_tvm.runtime.error_feedback import send_with_residual
from jointdnn_tvm.runtime.finite import is_finite
from jointdnn_tvm.runtime.masks import draw_masks
from jointdnn_tvm.runtime.stage_module import Value, seen
from jointdnn_tvm.runtime.training_entry import TrainingEntry

Array = np.ndarray[Any, Any]


class DeviceStages(Protocol):
    """What runs stages as a `StageModule` does."""

    def run_on_device(self, name: str, tensors: Mapping[str, Value]) -> dict[str, Value]:
        """Run a stage; what it hands out stays on the device."""

    def hold(self, arrays: Mapping[str, Array]) -> dict[str, Value]:
        """Copies of arrays on the device."""


class TrainingHalf:
    """Runs stages of one step after the other.

    What a step makes for the next stays apart until the step is adopted: a step that fails, on
    whichever side, is dropped as if it had not been.
    """

    def __init__(
        self,
        stages: DeviceStages | None,
        training: TrainingEntry,
        state: Mapping[str, Array],
        steps: int,
        seed: int,
    ) -> None:
        self._stages = stages
        self._training = training
        self._state: dict[str, Value] = dict(state)
        self._next: dict[str, Value] = {}
        self._masks: dict[str, Array] = {}
        self._seed = seed
        self.steps = steps
        """How many steps were adopted."""

    @property
    def names(self) -> frozenset[str]:
        """The tensors of this half of the state."""
        return frozenset(self._state)

    def state(self, names: Iterable[str]) -> dict[str, Array]:
        """Tensors of this half after the steps that were adopted, to be read only."""
        return {name: seen(self._state[name]) for name in names}

    @property
    def given(self) -> dict[str, Value]:
        """What is here before a stage runs: the state, and the masks of the step."""
        return {**self._state, **self._masks}

    def begin(self) -> None:
        """Drop what a step left behind, and begin one."""
        self._next = {}
        self._masks = {}  # before there are others
        self._masks = draw_masks(self._training.masks, self._seed, self.steps + 1)

    def run(self, name: str, tensors: Mapping[str, Value]) -> dict[str, Value]:
        """Run a stage on what is here and on `tensors`; returns what it hands out."""
        if self._stages is None:
            raise RunError(f"there is no stage {name!r} here")
        results = self._stages.run_on_device(name, {**self.given, **tensors})
        self.take(results)
        return results

    def receive(self, arrays: Mapping[str, Array]) -> dict[str, Value]:
        """Take what came from the other side; returns it in memory of its own.

        A message that it came in is needed no more. Raises what `take` does.
        """
        results = dict(arrays) if self._stages is None else self._stages.hold(arrays)
        self.take(results)
        return results

    def take(self, results: Mapping[str, Value]) -> None:
        """Remember what of some stage's results belongs to this half of the next state.

        DivergedError when that is no finite number.
        """
        for carried in self._training.carried:
            if carried.new in results and carried.tensor in self._state:
                self._leave(carried.tensor, results[carried.new])

    def outgoing(
        self, tensors: Mapping[str, Array], codecs: Mapping[str, str]
    ) -> dict[str, Array | bytes]:
        """Tensors on their way to the other side, of which gradients may come with a residual.

        These are frames of the `codecs`; what is left of them belongs to the next state.
        DivergedError when that is no finite number.
        """
        sent: dict[str, Array | bytes] = dict(tensors)
        for residual in self._training.residuals:
            if residual.tensor in tensors and residual.kept in self._state:
                before = seen(self._state[residual.kept])
                codec, gradient = codecs[residual.tensor], tensors[residual.tensor]
                sent[residual.tensor], left = send_with_residual(codec, gradient, before)
                self._leave(residual.kept, left)
        return sent

    def _leave(self, tensor: str, value: Value) -> None:
        """To the next step."""
        if not is_finite(seen(value)):
            raise DivergedError(
                f"in step {self.steps + 1} {tensor!r} would leave the finite numbers: the step is "
                "not taken; lower the learning rate, or look at the inputs"
            )
        self._next[tensor] = value

    def adopt(self) -> None:
        """The step was taken: what it made is the state now.

        What is left of gradients that were not sent, on a phone that goes on alone, stays.
        """
        stays = {residual.kept for residual in self._training.residuals}
        if missing := sorted(self._state.keys() - self._next.keys() - stays):
            raise RunError(f"a step ended without the next value of {missing[0]!r}")
        self._state, self._next = {**self._state, **self._next}, {}
        self.steps += 1

    def settle(self, steps: int) -> None:
        """The other side has taken so many steps: adopt the last one here, or drop it.

        RunError when the halves do not fit together.
        """
        if steps == self.steps + 1:
            self.adopt()
        elif steps != self.steps:
            raise RunError(
                f"one half of the run is at step {self.steps}, the other at step {steps}; "
                "open it again from its checkpoints"
            )
        self._next = {}
