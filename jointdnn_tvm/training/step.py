"""One step of training as one function: forward, loss, backward and updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from jointdnn_tvm.training.losses import Loss
from jointdnn_tvm.training.optimizers import Optimizer
from jointdnn_tvm.training.trainable import StateTensor, Trainable

op = relax.op
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TrainingStep(Placeable):
    """A step of training, ready to be grouped, placed or compiled like any network.

    `module` has one function, `main`. Its parameters are the inputs, the dropout masks, the
    labels where the loss takes some, the numbers of the step (scalars), the state, all these
    counted by `num_input`, and then the weights that stay. It returns the loss, then the new
    state, in the same order.
    """

    name: str
    module: tvm.IRModule
    weights: dict[str, Array]
    """First values of the state, and the weights that stay, by parameter."""
    inputs: tuple[TensorSpec, ...]
    masks: tuple[DropoutMask, ...]
    label: TensorSpec | None
    optimizer: Optimizer
    numbers: tuple[str, ...]
    state: tuple[str, ...]
    """Parameters that change: trained weights, running statistics, what the optimizer keeps."""
    stored: tuple[StateTensor, ...]
    """How those of the state that come from the file are stored."""

    def partitioned(self, placement: Placement) -> tvm.IRModule:
        """One public function for each stage, which gives the same bits wherever stages end."""
        with tvm.transform.PassContext(opt_level=3):
            return partitioning_exactly(placement)(self.grouped)


def training_step(
    network: Trainable,
    loss: Loss,
    optimizer: Optimizer,
    *,
    output: str | None = None,
    clip_norm: float | None = None,
) -> TrainingStep:
    """Puts loss, gradients and updates behind the forward pass.

    Args:
        network: the forward pass.
        loss: of one of its outputs.
        optimizer: how weights move.
        output: the name of that output; the first one by default.
        clip_norm: gradients are scaled down where the norm of all of them is larger.

    Raises:
        ModelError: there is no such output, or an operator has no gradient.
    """
    module, label = _with_loss(network, loss, _index(network, output))
    trained = [tensor.name for tensor in network.trained]
    module = append_backward(module, trained)
    return _with_updates(network, module, label, optimizer, clip_norm)


def _index(network: Trainable, output: str | None) -> int:
    names = [spec.name for spec in network.outputs]
    if output is None:
        return 0
    if output not in names:
        raise ModelError(f"no output is named '{output}'; the outputs are {', '.join(names)}")
    return names.index(output)


def _with_loss(network: Trainable, loss: Loss, index: int) -> tuple[tvm.IRModule, relax.Var | None]:
    """`main` returns the loss and the new statistics, and takes labels behind its inputs."""
    main = network.module["main"]
    params, given = list(main.params), len(network.inputs) + len(network.masks)
    kind = loss.label(relax.Var("output", main.ret_ty.fields[index]))
    label = None if kind is None else relax.Var(_unlike("label", params), kind)

    def extend(builder: relax.BlockBuilder, fields: list[Any]) -> list[Any]:
        value = builder.emit(loss.value(builder, fields[index], label), "loss")
        if dims(value):
            value = builder.emit(op.reshape(value, ()), "loss")
        return [value, *fields[len(network.outputs) :]]

    labels = [] if label is None else [label]
    params[given:given] = labels
    count = int(main.attrs["num_input"]) + len(labels)
    return extend_main(network.module, extend, params, count), label


def _with_updates(
    network: Trainable,
    module: tvm.IRModule,
    label: relax.Var | None,
    optimizer: Optimizer,
    clip_norm: float | None,
) -> TrainingStep:
    """`main` returns the loss and the new state, of which the optimizer's is behind the rest."""
    main = module["main"]
    params = list(main.params)
    given = len(network.inputs) + len(network.masks) + (label is not None)
    kept = int(main.attrs["num_input"])
    weights = params[given : given + len(network.trained)]
    numbers = {
        name: relax.Var(_unlike(name, params), relax.TensorType((), str(weights[0].ty.dtype)))
        for name in optimizer.numbers(1.0, 1)
    }
    slots = {
        weight: {
            s: relax.Var(_unlike(f"{weight.name}_{s}", params), weight.ty) for s in optimizer.slots
        }
        for weight in weights
    }
    own = [slot for by_name in slots.values() for slot in by_name.values()]

    def extend(builder: relax.BlockBuilder, fields: list[Any]) -> list[Any]:
        first = len(fields) - len(weights)
        (loss, *statistics), gradients = fields[:first], fields[first:]
        if clip_norm is not None:
            gradients = _clipped(builder, gradients, clip_norm)
        moved, remembered = [], []
        for weight, gradient in zip(weights, gradients, strict=True):
            new, kept_slots = optimizer.update(weight, gradient, slots[weight], numbers)
            moved.append(builder.emit(new, f"{weight.name}_new"))
            remembered += [
                builder.emit(kept_slots[name], f"{slot.name}_new")
                for name, slot in slots[weight].items()
            ]
        return [loss, *moved, *statistics, *remembered]

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
        label=None if label is None else _label_spec(label),
        optimizer=optimizer,
        numbers=tuple(numbers),
        state=tuple(param.name for param in state),
        stored=(*network.trained, *network.statistics),
    )


def _label_spec(label: relax.Var) -> TensorSpec:
    return TensorSpec("label", tuple(dims(label)), str(label.ty.dtype))


def _clipped(builder: relax.BlockBuilder, gradients: Sequence[Any], most: float) -> list[Any]:
    """Gradients whose norm, of all of them together, is `most` at most.

    As `torch.nn.utils.clip_grad_norm_`.
    """
    squares = [builder.emit(op.sum(op.multiply(g, g))) for g in gradients]
    total = squares[0]
    for square in squares[1:]:
        total = builder.emit(op.add(total, square))
    dtype = str(total.ty.dtype)
    above = relax.const(most, dtype) / (op.sqrt(total) + relax.const(1e-6, dtype))
    scale = builder.emit(op.minimum(above, relax.const(1, dtype)), "clipping")
    return [builder.emit(op.multiply(gradient, scale)) for gradient in gradients]


def _unlike(name: str, params: Sequence[relax.Var]) -> str:
    """A name that no parameter has."""
    taken = {param.name for param in params}
    while name in taken:
        name += "_"
    return name
