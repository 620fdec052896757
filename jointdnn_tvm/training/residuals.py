"""Gradients that cross by codecs that lose bits: their senders keep what is left of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import compress

from tvm import relax

from jointdnn_tvm.codec.registry import CODECS
from jointdnn_tvm.graph import Placement, Tensor
from jointdnn_tvm.training.step import TrainingStep
from jointdnn_tvm.training.step_tensors import step_tensors


def gradients(step: TrainingStep) -> frozenset[str]:
    """Tensors between groups that labels tell of and the loss does not.

    Where the loss takes no labels, all that it is not computed from, of inputs.
    """
    names = step_tensors(step)
    before = {names.loss}
    for group in reversed(step.graph.groups):
        if not before.isdisjoint(group.outputs):
            before.update(group.inputs)
    behind = set(names.labels or names.inputs)
    for group in step.graph.groups:
        read = [name in behind for name in group.inputs]
        behind.update(compress(group.outputs, _depend_on(step.grouped[group.name], read)))
    return frozenset(behind - before).difference(names.new_state)


def _depend_on(function: relax.Function, read: Iterable[bool]) -> list[bool]:
    """Which results of a group depend on those of its first parameters for which that is true."""
    behind = set(compress(function.params, read))
    fields: dict[relax.Var, list[relax.Var]] = {}
    (block,) = function.body.blocks
    for binding in block.bindings:
        if isinstance(binding.value, relax.Tuple):
            fields[binding.var] = list(binding.value.fields)
        if not behind.isdisjoint(relax.analysis.free_vars(binding.value)):
            behind.add(binding.var)
    result = function.body.body
    return [var in behind for var in fields.get(result, [result])]


def with_residuals(
    step: TrainingStep, placement: Placement, codecs: Mapping[str, str]
) -> tuple[Tensor, ...]:
    """The gradients that cross by one of these codecs that does not give every bit back."""
    of_loss = gradients(step)
    lossy = {name for name, codec in codecs.items() if codec in CODECS and not CODECS[codec].exact}
    return tuple(
        tensor
        for tensor in step.graph.tensors
        if tensor.name in of_loss & lossy
        and tensor.producer is not None
        and any(placement[c] != placement[tensor.producer] for c in tensor.consumers)
    )
