"""What must stay on the mobile, so that private inputs or labels never cross the link."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum
from typing import Any

from tvm import relax

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.training.step import TrainingStep
from jointdnn_tvm.training.step_tensors import step_tensors

PRIVATE = ("inputs", "labels")
_LAYERS = {f"relax.{name}" for name in ("einsum", "matmul", "nn.conv1d", "nn.conv2d", "nn.conv3d")}


class _Told(IntEnum):
    """What a value tells, from nothing to what may be told."""

    NOTHING = 0  # constants, masks, numbers
    WEIGHTS = 1  # weights and state alone
    PRIVATE = 2  # something private, and nothing that may be told is mixed in
    OPEN = 3  # what may be told: activations, losses, gradients


def private_tensors(step: TrainingStep, private: Collection[str]) -> frozenset[str]:
    """The inputs that are private, and what is computed from nothing else but them.

    What a layer (a convolution or a product with weights) makes of private inputs is an
    activation, as is what other activations are mixed into: these may cross, as may gradients,
    which can tell something of labels and inputs.

    Raises:
        ProblemError: `private` has other words than those of `PRIVATE`, or the step has no labels.
    """
    names = step_tensors(step)
    for what in private:
        if what not in PRIVATE:
            raise ProblemError(f"{what!r} cannot be private: use {' or '.join(PRIVATE)}")
    if "labels" in private and not names.labels:
        raise ProblemError("the step takes no labels that could be private: use inputs")
    told = dict.fromkeys((*names.inputs, *names.labels), _Told.OPEN)
    told |= {name: _Told.PRIVATE for what in private for name in getattr(names, what)}
    told |= dict.fromkeys((*names.masks, *names.numbers), _Told.NOTHING)
    told |= dict.fromkeys(names.state, _Told.WEIGHTS)
    for group in step.graph.groups:
        read = [told[name] for name in group.inputs] + [_Told.WEIGHTS] * len(group.weights)
        made = _told_by(step.grouped[group.name], read)
        told |= dict(zip(group.outputs, made, strict=True))
    return frozenset(name for name, what in told.items() if what == _Told.PRIVATE)


def _told_by(function: relax.Function, read: Iterable[_Told]) -> list[_Told]:
    """What the results of a group tell, from what its parameters do."""
    told: dict[relax.Var, _Told] = dict(zip(function.params, read, strict=True))
    fields: dict[relax.Var, list[relax.Var]] = {}
    (block,) = function.body.blocks
    for binding in block.bindings:
        if isinstance(binding.value, relax.Tuple):
            fields[binding.var] = list(binding.value.fields)
        told[binding.var] = _told_by_value(binding.value, told)
    result = function.body.body
    return [told[var] for var in fields.get(result, [result])]


def _told_by_value(value: Any, told: Mapping[relax.Var, _Told]) -> _Told:
    read = {told[var] for var in relax.analysis.free_vars(value)}
    most = max(read, default=_Told.NOTHING)
    is_layer = isinstance(value, relax.Call) and getattr(value.op, "name", "") in _LAYERS
    if most == _Told.PRIVATE and is_layer and _Told.WEIGHTS in read:
        return _Told.OPEN
    return most
