"""The function of a whole step: what it takes and gives, and that it is a graph like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.passes.pipeline import grouping
from jointdnn_tvm.passes.read_graph import read_graph
from jointdnn_tvm.training.choose_weights import TrainedWeights
from jointdnn_tvm.training.losses import CrossEntropy, MeanSquaredError, OwnLoss
from jointdnn_tvm.training.optimizers import AdamW, Sgd
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.trainable import load_trainable
from tests.gradient_checks import compiled
from tests.test_group_operators import check_graph
from tests.training_models import TASKS, small_mlp


def _params(step: TrainingStep) -> list[str]:
    return [param.name for param in step.module["main"].params]


def test_parameters_and_results(tmp_path: Path) -> None:
    network = load_trainable(
        small_mlp(tmp_path), dropout=True, trained=TrainedWeights(last_layers=1)
    )
    step = training_step(network, CrossEntropy(), AdamW())
    (mask,) = step.masks
    assert mask.shape == (4, 8)
    main = step.module["main"]
    given = ["x", main.params[1].name, "label", *step.numbers, *step.state]
    assert _params(step)[: int(main.attrs["num_input"])] == given
    assert set(step.weights) == {*step.state, *_params(step)[len(given) :]}
    assert [t.source for t in step.stored] == ["second.w", "second.b"]
    assert len(step.state) == 3 * len(step.stored)
    shapes = {p.name: [int(d) for d in p.ty.shape] for p in main.params}
    loss, *new, scores = main.ret_ty.fields
    assert list(loss.shape) == []
    assert [int(d) for d in scores.shape] == [4, 3]
    assert [[int(d) for d in kind.shape] for kind in new] == [shapes[name] for name in step.state]
    for name, array in step.weights.items():
        assert list(array.shape) == shapes[name]


def test_names_that_are_taken(tmp_path: Path) -> None:
    network = load_trainable(small_mlp(tmp_path, x="learning_rate", w="label"))
    step = training_step(network, CrossEntropy(), Sgd())
    assert len(set(_params(step))) == len(_params(step))


def test_output_by_name(tmp_path: Path) -> None:
    network = load_trainable(small_mlp(tmp_path))
    hidden = training_step(network, MeanSquaredError(), Sgd(), output="hidden")
    assert hidden.label is not None
    assert hidden.label.shape == (4, 8)
    with pytest.raises(ModelError, match="no output is named 'nowhere'; the outputs are scores"):
        training_step(network, MeanSquaredError(), Sgd(), output="nowhere")


def test_loss_in_the_graph_takes_no_labels(tmp_path: Path) -> None:
    step = training_step(load_trainable(small_mlp(tmp_path)), OwnLoss(), Sgd())
    assert step.label is None
    assert "label" not in _params(step)


def _first_arguments(step: TrainingStep, task: str) -> list[np.ndarray]:
    inputs, labels = TASKS[task].batch(0)
    numbers = step.optimizer.numbers(0.01, 1)
    scalars = [np.array(numbers[name], np.float32) for name in step.numbers]
    rest = [step.weights[name] for name in _params(step)[2 + len(scalars) :]]
    return [inputs, labels, *scalars, *rest]


@pytest.mark.parametrize("task", [pytest.param("small_cnn", marks=pytest.mark.slow), "transformer"])
def test_step_is_grouped_like_any_graph(task: str, tmp_path: Path) -> None:
    network = load_trainable(TASKS[task].model(tmp_path))
    step = training_step(network, CrossEntropy(), Sgd(momentum=0.9), clip_norm=1.0)
    grouped = grouping()(step.module)
    graph = read_graph(grouped)
    check_graph(graph)
    assert len(graph.outputs) == 1 + len(step.state) + 1  # of which the last are the scores
    arguments = _first_arguments(step, task)
    together, apart = compiled(step.module)(*arguments), compiled(grouped)(*arguments)
    for expected, found in zip(together, apart, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_every_binding_is_an_operator(tmp_path: Path) -> None:
    network = load_trainable(TASKS["small_cnn"].model(tmp_path), batch_norm="batch")
    module = training_step(network, CrossEntropy(), AdamW(), clip_norm=1.0).module
    for binding in module["main"].body.blocks[0].bindings:
        value = binding.value
        assert not isinstance(value, relax.Call) or isinstance(value.op, tvm.ir.Op)
        assert getattr(getattr(value, "op", None), "name", "") != "relax.call_tir"
