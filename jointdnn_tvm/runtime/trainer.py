"""The phone's process while a network is trained: it keeps both sides' halves of a run in step."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from jointdnn_tvm.errors import DeviceError, DivergedError, RunError
from jointdnn_tvm.runtime.accuracy import right_answers
from jointdnn_tvm.runtime.check_inputs import check_array, check_classes, check_inputs
from jointdnn_tvm.runtime.checkpoint import write_checkpoint
from jointdnn_tvm.runtime.closing import Closing
from jointdnn_tvm.runtime.cloud import Header, Tensors
from jointdnn_tvm.runtime.cloud_calls import CloudCalls
from jointdnn_tvm.runtime.manifest import Manifest, StageEntry
from jointdnn_tvm.runtime.stage_module import Value, as_array
from jointdnn_tvm.runtime.stage_work import StageWork, needed_stages
from jointdnn_tvm.runtime.training_cloud import TrainingCloud
from jointdnn_tvm.runtime.training_half import TrainingHalf
from jointdnn_tvm.runtime.training_start import Start, TrainingBundle, starts

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]

_FETCH_BYTES = 16 << 20
"""Of the state that one remote call brings."""


class Trainer(Closing):
    """Takes steps of one run, one at a time.

    A step is taken on both sides or on neither. One that fails, by an input that does not fit, a
    loss that is no number or a call that the cloud refused, leaves the run after the step before.
    When the cloud is lost, its half is: the run goes on from its last checkpoint, when it is
    opened again, or at once on the phone alone where that was allowed; `steps` says where.
    """

    def __init__(
        self,
        bundle: TrainingBundle,
        start: Start,
        cloud: TrainingCloud | None,
        *,
        checkpoints: Path | None = None,
        alone: bool = False,
        cloud_error: str | None = None,
    ) -> None:
        self.cloud_error = cloud_error
        """Why the run goes on alone."""
        self._bundle = bundle
        self._cloud = cloud
        self._checkpoints = checkpoints
        self._alone = alone
        self._ended: str | None = None
        self._lock = threading.Lock()
        self._requests = 0
        self._link_bytes = 0  # of a cloud that is gone
        self._seed = start.run.seed
        manifest, training = bundle.manifest, bundle.training
        mirrored = [c.new for c in training.carried if c.tensor in manifest.state_held_by("mobile")]
        judged = {training.loss} | ({training.scores.tensor} if training.scores else set())
        self._training = StageWork(manifest, manifest.stages, {training.loss}, mirrored)
        self._judging = StageWork(manifest, needed_stages(manifest.stages, judged), judged)
        self._begin(start)

    def _begin(self, start: Start) -> None:
        bundle = self._bundle
        everything = self._cloud is None
        held = bundle.carried if everything else bundle.manifest.state_held_by("mobile")
        state = {name: start.state[name] for name in held}
        self._run = start.run
        self._half = TrainingHalf(
            bundle.mobile, bundle.training, state, start.steps, start.run.seed
        )

    @property
    def link_bytes(self) -> int:
        """What the steps sent to the cloud and received from it so far, in messages."""
        return self._link_bytes + (self._cloud.link_bytes if self._cloud else 0)

    @property
    def steps(self) -> int:
        """How many steps were taken, those before a checkpoint that the run goes on from too."""
        return self._half.steps

    def step(
        self, inputs: Mapping[str, Array], label: Any = None, *, learning_rate: float
    ) -> float:
        """Take a step; returns the loss before it.

        Args:
            inputs: by the network's own names, in its shapes and types.
            label: what the loss compares an output with, where it does.
            learning_rate: of this step.

        Raises:
            RunError: an input or the label does not fit.
            DivergedError: the loss, or what is carried to the next step, is no finite number.
            DeviceError: the cloud failed or was lost; `steps` tells where the run is now.
        """
        with self._lock:
            given = self._given(inputs, label, learning_rate)
            loss = self._loss_of(self._attempt(given, self._training))
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss of step {self.steps + 1} is {loss}: the step is not taken; "
                    "lower the learning rate, or look at the inputs"
                )
            self._half.adopt()
            return loss

    def evaluate(self, inputs: Mapping[str, Array], label: Any = None) -> dict[str, float]:
        """The `loss`, by the stages that it needs; nothing is learned.

        Where the loss is one of classes there is the `accuracy` too: the share of rows in which
        the class of the label scores highest. Dropouts, batch statistics and codecs are as in the
        next step. Raises what `step` does.
        """
        scores, spec = self._bundle.training.scores, self._bundle.training.label
        with self._lock:
            given = self._given(inputs, label, 0.0)
            found = self._attempt(given, self._judging)
        result = {"loss": self._loss_of(found)}
        if scores is not None and spec is not None:
            right = right_answers(as_array(found[scores.tensor]), given[spec.tensor], scores.axis)
            result["accuracy"] = float(right.mean())
        return result

    def _loss_of(self, found: Mapping[str, Value]) -> float:
        return float(as_array(found[self._bundle.training.loss]))

    def _check_open(self) -> None:
        if self._ended is not None:
            raise RunError(self._ended)

    def _given(
        self, inputs: Mapping[str, Array], label: Any, learning_rate: float
    ) -> dict[str, Array]:
        """The tensors of a step that are no state."""
        self._check_open()
        manifest, training = self._bundle.manifest, self._bundle.training
        given = check_inputs(manifest, inputs)
        if training.label is not None:
            if label is None:
                raise RunError("the label is missing")
            tensor, classes = training.label.tensor, training.label.classes
            given[tensor] = check_array("the label", label, manifest.tensors[tensor])
            if classes is not None:
                check_classes("the label", given[tensor], classes)
        numbers = training.optimizer(learning_rate, self.steps + 1)
        for name, tensor in training.numbers.items():
            given[tensor] = np.asarray(numbers[name], manifest.tensors[tensor].dtype)
        return given

    def _attempt(self, given: Mapping[str, Array], work: StageWork) -> dict[str, Value]:
        """Run stages of a step and return what is wanted of them; what they make is not adopted."""
        self._requests += 1
        self._half.begin()
        held: dict[str, Value] = {**given, **self._half.given}
        there = set(self._bundle.manifest.state_held_by("cloud"))
        there |= {mask.name for mask in self._bundle.training.masks}
        for stage in work.stages:
            if stage.side == "cloud" and self._cloud is not None:
                held.update(self._on_cloud(self._cloud, work.calls, stage, held, there))
            else:
                held.update(self._half.run(stage.name, held))
            for name in work.unread[stage.name]:
                held.pop(name, None)
        return {name: held[name] for name in work.wanted}

    def _on_cloud(
        self,
        cloud: TrainingCloud,
        calls: CloudCalls,
        stage: StageEntry,
        held: Mapping[str, Value],
        there: set[str],
    ) -> dict[str, Value]:
        header = {"request": self._requests, "steps": self.steps}
        try:
            made = calls.run(_WithResiduals(cloud, self._half), stage, held, there, header)
        except DeviceError as error:
            self._failed(error)
        return self._half.receive(made)

    def _failed(self, error: DeviceError) -> NoReturn:
        """Say what a failed call means for the run, after what must be done about it."""
        assert self._cloud is not None
        if self._cloud.alive:
            raise error
        self._let_go()
        start = self._start_alone() if self._alone else None
        if start is None:
            self._ended = f"the run lost its cloud ({error}); open it again"
            raise DeviceError(
                f"{error}; then open the run again: it goes on from its last checkpoint"
            ) from error
        self._begin(start)
        self.cloud_error = str(error)
        logger.warning("the cloud is lost (%s); going on alone from step %d", error, self.steps)
        raise DeviceError(
            f"{error}; the run goes on alone, and is after step {self.steps} again"
        ) from error

    def _start_alone(self) -> Start | None:
        """The newest start that has all of the state."""
        bundle = self._bundle
        found = starts(bundle, self._checkpoints, self._seed)
        return next((start for start in found if start.state.keys() >= bundle.carried), None)

    def checkpoint(self) -> None:
        """Write both halves down, each on its side, and keep the checkpoint before this one.

        Where the run may go on alone, the phone's has the cloud's half too.

        Raises:
            RunError: there is no folder for checkpoints, or it cannot be written.
            DeviceError: the cloud failed or was lost.
        """
        if self._checkpoints is None:
            raise RunError("the trainer has no folder for checkpoints; open it with one")
        with self._lock:
            self._check_open()
            about: dict[str, str] = {"side": "mobile"}
            if self._cloud is not None:
                try:
                    about["cloud"] = self._cloud.keep(self.steps)
                except DeviceError as error:
                    self._failed(error)
            state = (
                self._state(self._bundle.carried)
                if self._alone
                else self._half.state(self._half.names)
            )
            try:
                write_checkpoint(self._checkpoints, self._run, self.steps, state, about)
            except OSError as error:
                raise RunError(
                    f"{self._checkpoints} cannot be written ({error.strerror}); free some room, "
                    "or open the run with another folder"
                ) from error

    def state(self) -> dict[str, Array]:
        """All that is carried from step to step, by the names of the step's own tensors."""
        with self._lock:
            self._check_open()
            state = self._state(self._bundle.carried)
        return {name: np.array(array) for name, array in state.items()}

    def weights(self) -> dict[str, Array]:
        """The trained weights and running statistics as they are now, as the ONNX file has them.

        Raises:
            DeviceError: the cloud failed or was lost.
        """
        sources = {c.tensor: c.source for c in self._bundle.training.carried if c.source}
        with self._lock:
            self._check_open()
            state = self._state(sources.keys())
        return {s.name: np.array(s.form.undo(state[name])) for name, s in sources.items()}

    def _state(self, names: Iterable[str]) -> dict[str, Array]:
        """Tensors of the state, to be read only; those that only the cloud has from there."""
        there = sorted(set(names) - self._half.names)
        found = self._half.state(set(names) - set(there))
        if there and self._cloud is None:
            raise RunError("the cloud's half of the run is not here")
        for part in _parts(there, self._bundle.manifest):
            assert self._cloud is not None
            try:
                found |= self._cloud.state(self.steps, part)
            except DeviceError as error:
                self._failed(error)
        return found

    def close(self) -> None:
        """End the connection to the cloud; what has no checkpoint is lost."""
        self._ended = self._ended or "the trainer is closed; open a new one"
        self._let_go()

    def _let_go(self) -> None:
        if self._cloud is not None:
            self._link_bytes = self._cloud.link_bytes
            self._cloud.close()
            self._cloud = None


class _WithResiduals:
    """A cloud to which gradients go together with what codecs left of those before."""

    def __init__(self, cloud: TrainingCloud, half: TrainingHalf) -> None:
        self._cloud = cloud
        self._half = half

    def run(self, header: Header, tensors: Tensors) -> Tensors:
        """Run one stage there."""
        return self._cloud.run(header, self._half.outgoing(tensors, header["codecs"]))


def _parts(names: Sequence[str], manifest: Manifest) -> list[list[str]]:
    """Tensors that one call each brings: as many as are small, or a large one."""
    parts: list[list[str]] = []
    size = math.inf
    for name in names:
        entry = manifest.tensors[name]
        own = math.prod(entry.shape) * np.dtype(entry.dtype).itemsize
        size += own
        if size > _FETCH_BYTES:
            parts.append([])
            size = own
        parts[-1].append(name)
    return parts
