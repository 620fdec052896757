"""A step's tensors in its problem, against two sides that hold values and fetch what they miss."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from jointdnn_tvm.estimating import estimate
from jointdnn_tvm.placement import SIDES, evaluate
from jointdnn_tvm.targets import load_link
from jointdnn_tvm.training.losses import CrossEntropy, OwnLoss
from jointdnn_tvm.training.optimizers import AdamW, Sgd
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.step_plan import step_problem
from jointdnn_tvm.training.step_tensors import placement_tensors, step_tensors
from jointdnn_tvm.training.trainable import load_trainable
from tests.training_models import TASKS, small_mlp


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[TrainingStep]:
    folder = tmp_path_factory.mktemp("steps")
    mlp = load_trainable(small_mlp(folder), dropout=True)
    cnn = load_trainable(TASKS["small_cnn"].model(folder), batch_norm="batch")
    return [
        training_step(mlp, CrossEntropy(), Sgd()),
        training_step(mlp, OwnLoss(), Sgd(momentum=0.9)),
        training_step(cnn, CrossEntropy(), AdamW(), clip_norm=1.0),
    ]


def test_inputs_and_outputs_are_told_apart(steps: list[TrainingStep]) -> None:
    names = step_tensors(steps[0])
    assert [len(part) for part in names[:5]] == [1, 1, 1, 1, 4]
    assert names.new_state + names.scores == steps[0].graph.outputs[1:]
    assert len(names.scores) == 1
    assert step_tensors(steps[1]).labels == step_tensors(steps[1]).scores == ()


def test_what_is_drawn_on_both_sides_is_no_tensor_and_the_state_is_carried(
    steps: list[TrainingStep],
) -> None:
    for step in steps:
        names = step_tensors(step)
        tensors = {tensor.name: tensor for tensor in placement_tensors(step)}
        assert tensors.keys().isdisjoint({*names.masks, *names.numbers})
        assert {name for name, tensor in tensors.items() if tensor.carried} == set(names.state)
        assert [name for name, tensor in tensors.items() if tensor.output] == [names.loss]
        for name, new in zip(names.state, names.new_state, strict=True):
            (maker,) = [group.name for group in step.graph.groups if new in group.outputs]
            assert tensors[name].producer == maker


def _fetched_bytes(step: TrainingStep, sides: Mapping[str, str]) -> dict[str, int]:
    """Bytes that the cloud (up) and the mobile (down) lack while a step runs."""
    names = step_tensors(step)
    size = {tensor.name: tensor.size_bytes for tensor in step.graph.tensors}
    maker = {name: group.name for group in step.graph.groups for name in group.outputs}
    held: dict[str, set[str]] = {side: {*names.masks, *names.numbers} for side in SIDES}
    held["mobile"] |= {*names.inputs, *names.labels}
    for name, new in zip(names.state, names.new_state, strict=True):
        held[sides[maker[new]]].add(name)
    fetched = {"mobile": 0, "cloud": 0}

    def need(name: str, side: str) -> None:
        if name not in held[side]:
            fetched[side] += size[name]
            held[side].add(name)

    for group in step.graph.groups:
        for name in group.inputs:
            need(name, sides[group.name])
        held[sides[group.name]].update(group.outputs)
    need(names.loss, "mobile")
    return {"up": fetched["cloud"], "down": fetched["mobile"]}


def test_what_crosses_is_what_a_side_lacks(steps: list[TrainingStep]) -> None:
    for step in steps:
        problem = step_problem(step, estimate(step), load_link("lan-1g"))
        size = {tensor.name: tensor.size_bytes for tensor in problem.tensors}
        for seed in range(30):
            draw = random.Random(seed)
            share = draw.choice((0.1, 0.5, 0.9))
            sides = {o.name: SIDES[draw.random() < share] for o in problem.operators}
            metrics = evaluate(problem, sides)
            found = {way: sum(size[n] for n in getattr(metrics, way)) for way in ("up", "down")}
            assert found == _fetched_bytes(step, sides), f"seed {seed}"
