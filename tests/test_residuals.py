"""Gradients against values that were computed: what labels change, and the loss does not read."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.host_network import HostNetwork
from jointdnn_tvm.training.losses import CrossEntropy, OwnLoss
from jointdnn_tvm.training.optimizers import Sgd
from jointdnn_tvm.training.residuals import gradients, with_residuals
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.step_codecs import _given
from jointdnn_tvm.training.step_tensors import step_tensors
from jointdnn_tvm.training.trainable import load_trainable
from tests.training_models import TASKS, small_mlp
from tests.training_runs import activations, all_on, in_turn


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainingStep]:
    folder = tmp_path_factory.mktemp("steps")
    mlp = load_trainable(small_mlp(folder), dropout=True)
    cnn = load_trainable(TASKS["small_cnn"].model(folder), batch_norm="batch")
    return {
        "mlp": training_step(mlp, CrossEntropy(), Sgd()),
        "small_cnn": training_step(cnn, CrossEntropy(), Sgd(momentum=0.9), clip_norm=1.0),
        "own": training_step(mlp, OwnLoss(), Sgd()),
    }


@pytest.mark.parametrize("name", ["mlp", "small_cnn"])
def test_gradients_change_with_labels_and_change_no_loss(
    name: str, steps: dict[str, TrainingStep]
) -> None:
    step = steps[name]
    names = step_tensors(step)
    host = HostNetwork(step)
    given = _given(step, None)
    (label,) = names.labels
    one = host.tensors(given)
    other = host.tensors({**given, label: (given[label] + 1) % 3})
    changed = {t for t in one if not np.array_equal(one[t], other[t])}
    for tensor in sorted(gradients(step)):
        assert tensor in changed, tensor
        (loss, *_) = host.outputs(one, {tensor: one[tensor] * 2 + 1})
        assert loss == one[names.loss], tensor
    read_by_loss = set()
    for tensor in sorted(changed - gradients(step) - {label, *names.new_state, names.loss}):
        (loss, *_) = host.outputs(one, {tensor: one[tensor] + 1})
        if loss != one[names.loss]:
            read_by_loss.add(tensor)
    missed = changed - gradients(step) - read_by_loss - {label, *names.new_state, names.loss}
    assert not missed
    assert gradients(step)


def test_loss_without_labels(steps: dict[str, TrainingStep]) -> None:
    step = steps["own"]
    found = gradients(step)
    assert found
    assert found.isdisjoint(activations(step))
    assert found.isdisjoint({*step_tensors(step).new_state, step_tensors(step).loss})


def test_only_lossy_gradients_that_cross_leave_something(steps: dict[str, TrainingStep]) -> None:
    step = steps["mlp"]
    everything = [t.name for t in step.graph.tensors]
    found = with_residuals(step, in_turn(step), dict.fromkeys(everything, "u8"))
    assert found
    assert {t.name for t in found} <= gradients(step)
    sides = in_turn(step)
    for tensor in found:
        assert tensor.producer is not None
        assert {sides[tensor.producer]} != {sides[c] for c in tensor.consumers}
    for placement, codec in ((in_turn(step), "f32"), (all_on(step, "cloud"), "u8")):
        assert with_residuals(step, placement, dict.fromkeys(everything, codec)) == ()
