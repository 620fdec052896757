"""One step of training as one function: forward, loss, backward and updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import relax

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.graph import Placement
from jointdnn_tvm.network import Placeable, TensorSpec
from jointdnn_tvm.passes.append_backward import append_backward
from jointdnn_tvm.passes.layouts import dims
from jointdnn_tvm.passes.main_function import extend_main
from jointdnn_tvm.passes.pipeline import partitioning_exactly
from jointdnn_tvm.runtime.masks import DropoutMask
from jointdnn_tvm.runtime.step_numbers import StepNumbers
from jointdnn_tvm.training.accumulation import Accumulation
from jointdnn_tvm.training.labels import LabelSpec
from jointdnn_tvm.training.losses import Loss
from jointdnn_tvm.training.optimizers import Optimizer
from jointdnn_tvm.training.trainable import StateTensor, Trainable
from jointdnn_tvm.training.updates import Updates

op = relax.op
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TrainingStep(Placeable):
    """A step of training, ready to be grouped, placed or compiled like any network.

    `module` has one function, `main`. Its parameters are the inputs, the dropout masks, the
    labels where the loss takes some, the numbers of the step (scalars), the state, all these
    counted by `num_input`, and then the weights that stay. It returns the loss, then the new
    state, in the same order, and where the loss is one of classes their scores.
    """

    name: str
    module: tvm.IRModule
    weights: dict[str, Array]
    """First values of the state, and the weights that stay, by parameter."""
    inputs: tuple[TensorSpec, ...]
    masks: tuple[DropoutMask, ...]
    label: LabelSpec | None
    optimizer: Optimizer
    accumulation: Accumulation
    numbers: tuple[str, ...]
    state: tuple[str, ...]
    """Parameters that change: trained weights, running statistics, what the optimizer keeps."""
    stored: tuple[StateTensor, ...]
    """How those of the state that come from the file are stored."""

    def partitioned(self, placement: Placement) -> tvm.IRModule:
        """One public function for each stage, which gives the same bits wherever stages end."""
        with tvm.transform.PassContext(opt_level=3):
            return partitioning_exactly(placement)(self.grouped)

    @property
    def step_numbers(self) -> StepNumbers:
        """What the numbers of a step are computed by."""
        return Updates(self.optimizer, self.accumulation).numbers

    def values(self, learning_rate: float, step: int) -> dict[str, float]:
        """The numbers of a step, counted from 1."""
        return self.step_numbers(learning_rate, step)


def training_step(
    network: Trainable,
    loss: Loss,
    optimizer: Optimizer,
    *,
    output: str | None = None,
    clip_norm: float | None = None,
    accumulate: int = 1,
) -> TrainingStep:
    """Puts loss, gradients and updates behind the forward pass.

    Args:
        network: the forward pass.
        loss: of one of its outputs.
        optimizer: how weights move.
        output: the name of that output; the first one by default.
        clip_norm: gradients are scaled down where the norm of all of them is larger.
        accumulate: of so many steps the mean gradient moves the weights, in the last of them.

    Raises:
        ModelError: there is no such output, or an operator has no gradient.
    """
    module, label = _with_loss(network, loss, _index(network, output))
    trained = [tensor.name for tensor in network.trained]
    module = append_backward(module, trained)
    updates = Updates(optimizer, Accumulation(accumulate), clip_norm)
    return _with_updates(network, module, label, updates)


def _index(network: Trainable, output: str | None) -> int:
    names = [spec.name for spec in network.outputs]
    if output is None:
        return 0
    if output not in names:
        raise ModelError(f"no output is named '{output}'; the outputs are {', '.join(names)}")
    return names.index(output)


def _with_loss(network: Trainable, loss: Loss, index: int) -> tuple[tvm.IRModule, LabelSpec | None]:
    """`main` returns the loss and the new statistics, and takes labels behind its inputs."""
    main = network.module["main"]
    params, given = list(main.params), len(network.inputs) + len(network.masks)
    spec = loss.label(relax.Var("output", main.ret_ty.fields[index]))
    label = None
    if spec is not None:
        spec = replace(spec, name=_unlike(spec.name, network.inputs))
        label = relax.Var(_unlike(spec.name, params), relax.TensorType(spec.shape, spec.dtype))

    def extend(builder: relax.BlockBuilder, fields: list[Any]) -> list[Any]:
        value = builder.emit(loss.value(builder, fields[index], label), "loss")
        if dims(value):
            value = builder.emit(op.reshape(value, ()), "loss")
        scores = loss.scores(builder, fields[index])
        judged = [] if scores is None else [scores]
        return [value, *fields[len(network.outputs) :], *judged]

    labels = [] if label is None else [label]
    params[given:given] = labels
    count = int(main.attrs["num_input"]) + len(labels)
    return extend_main(network.module, extend, params, count), spec


def _with_updates(
    network: Trainable, module: tvm.IRModule, label: LabelSpec | None, updates: Updates
) -> TrainingStep:
    """`main` returns the loss and the new state, of which the optimizer's is behind the rest."""
    main = module["main"]
    params = list(main.params)
    given = len(network.inputs) + len(network.masks) + (label is not None)
    kept = int(main.attrs["num_input"])
    weights = params[given : given + len(network.trained)]
    numbers = {
        name: relax.Var(_unlike(name, params), relax.TensorType((), str(weights[0].ty.dtype)))
        for name in updates.numbers(1.0, 1)
    }
    slots = {
        weight: {
            s: relax.Var(_unlike(f"{weight.name}_{s}", params), weight.ty) for s in updates.slots
        }
        for weight in weights
    }
    own = [slot for by_name in slots.values() for slot in by_name.values()]

    def extend(builder: relax.BlockBuilder, fields: list[Any]) -> list[Any]:
        loss, *others = fields
        statistics = others[: len(network.statistics)]
        scores = others[len(network.statistics) : -len(weights)]
        moved, remembered = updates.append(builder, others[-len(weights) :], slots, numbers)
        return [loss, *moved, *statistics, *remembered, *scores]

    state = [*params[given:kept], *own]
    params = [*params[:given], *numbers.values(), *state, *params[kept:]]
    count = given + len(numbers) + len(state)
    zeros = {slot.name: np.zeros(dims(slot), str(slot.ty.dtype)) for slot in own}
    return TrainingStep(
        name=network.name,
        module=extend_main(module, extend, params, count),
        weights=network.weights | zeros,
        inputs=network.inputs,
        masks=network.masks,
        label=label,
        optimizer=updates.optimizer,
        accumulation=updates.accumulation,
        numbers=tuple(numbers),
        state=tuple(param.name for param in state),
        stored=(*network.trained, *network.statistics),
    )


def _unlike(name: str, others: Sequence[relax.Var | TensorSpec]) -> str:
    """A name that none of these has."""
    taken = {other.name for other in others}
    while name in taken:
        name += "_"
    return name
