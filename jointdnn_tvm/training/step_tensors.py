"""The tensors of a step's graph by what they are, and as a placement problem has them."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from jointdnn_tvm.placement import Tensor
from jointdnn_tvm.training.step import TrainingStep


class StepTensors(NamedTuple):
    """Names of tensors in the graph of a step.

    ``labels`` has one, or none where the loss takes no labels. ``new_state`` has the new value of
    each tensor in ``state``, in the same order. ``scores`` has one where the loss is one of
    classes.
    """

    inputs: tuple[str, ...]
    masks: tuple[str, ...]
    labels: tuple[str, ...]
    numbers: tuple[str, ...]
    state: tuple[str, ...]
    loss: str
    new_state: tuple[str, ...]
    scores: tuple[str, ...]


def step_tensors(step: TrainingStep) -> StepTensors:
    """What each input and output of a step's graph is."""
    given = iter(step.graph.inputs)
    counts = (
        len(step.inputs),
        len(step.masks),
        int(step.label is not None),
        len(step.numbers),
        len(step.state),
    )
    inputs, masks, labels, numbers, state = (tuple(islice(given, count)) for count in counts)
    made = iter(step.graph.outputs)
    loss = next(made)
    new_state = tuple(islice(made, len(step.state)))
    return StepTensors(inputs, masks, labels, numbers, state, loss, new_state, tuple(made))


def placement_tensors(step: TrainingStep) -> tuple[Tensor, ...]:
    """The tensors that a placement makes cross, or that a side keeps.

    The state is carried: it lives where its new value is made. Masks and numbers never cross: the
    sides draw masks from the same seed, and are told a few numbers with each message.
    """
    names = step_tensors(step)
    apart = {*names.masks, *names.numbers, *names.state}
    found = {tensor.name: tensor for tensor in step.graph.tensors}
    passing = tuple(
        Tensor(t.name, t.producer, t.consumers, t.size_bytes, t.name == names.loss)
        for t in found.values()
        if t.name not in apart and (t.consumers or t.name == names.loss)
    )
    carried = (
        Tensor(
            name, found[new].producer, found[name].consumers, found[name].size_bytes, carried=True
        )
        for name, new in zip(names.state, names.new_state, strict=True)
    )
    return (*passing, *carried)
