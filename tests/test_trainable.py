"""A file as a network whose weights may change: the same answers, and a way back to the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.training.choose_weights import TrainedWeights
from jointdnn_tvm.training.losses import MeanSquaredError
from jointdnn_tvm.training.optimizers import Sgd
from jointdnn_tvm.training.step import training_step
from jointdnn_tvm.training.trainable import Trainable, load_trainable
from tests.gradient_checks import compiled
from tests.networks import SHAPES, TRAINED, light_names, light_network, trained_network
from tests.onnx_models import run_onnx
from tests.training_models import TASKS


def _answers(network: Trainable, x: np.ndarray) -> np.ndarray:
    return compiled(network.module)(x, *network.weights.values())[0]


@pytest.mark.parametrize("task", ["small_cnn", "transformer"])
def test_answers_are_those_of_the_file(task: str, tmp_path: Path) -> None:
    path = TASKS[task].model(tmp_path)
    x, _ = TASKS[task].batch(0)
    (expected,) = run_onnx(onnx.load(path), {"x": x})
    for trained in (TrainedWeights(), TrainedWeights(last_layers=2)):
        network = load_trainable(path, trained=trained)
        np.testing.assert_allclose(_answers(network, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", ["small_cnn", "transformer"])
def test_stored_weights_lead_back_to_those_of_the_file(task: str, tmp_path: Path) -> None:
    path = TASKS[task].model(tmp_path)
    network = load_trainable(path, batch_norm="batch")
    arrays = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    for tensor in (*network.trained, *network.statistics):
        stored = network.weights[tensor.name]
        np.testing.assert_array_equal(tensor.form.undo(stored), arrays[tensor.source])


def test_kernels_are_stored_as_convolutions_read_them(tmp_path: Path) -> None:
    network = load_trainable(TASKS["small_cnn"].model(tmp_path))
    shapes = {t.source: network.weights[t.name].shape for t in network.trained}
    assert shapes["conv1.w"] == (3, 3, 3, 8)
    assert shapes["conv2.w"] == (3, 3, 1, 8)
    assert shapes["dense.w"] == (16, 5)


def test_parameters(tmp_path: Path) -> None:
    network = load_trainable(
        TASKS["small_cnn"].model(tmp_path),
        trained=TrainedWeights(last_layers=2),
        batch_norm="batch",
        dropout=True,
    )
    main = network.module["main"]
    state = [t.name for t in (*network.trained, *network.statistics)]
    names = [p.name for p in main.params]
    first = len(network.inputs) + len(network.masks)
    assert first == 2
    assert int(main.attrs["num_input"]) == first + len(state)
    assert names[first:] == list(network.weights)
    assert names[first:][: len(state)] == state
    assert len(main.ret_ty.fields) == len(network.outputs) + len(network.statistics)


def test_nothing_to_train(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no trainable weight is named 'w'"):
        load_trainable(TASKS["small_cnn"].model(tmp_path), trained=TrainedWeights(names=("w",)))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in TRAINED if n != "ddddocr_old"])
def test_trained_networks_have_all_gradients(name: str) -> None:
    _check_gradients(load_trainable(trained_network(name), SHAPES.get(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", light_names())
def test_light_networks_have_all_gradients(name: str, tmp_path: Path) -> None:
    _check_gradients(load_trainable(light_network(name, tmp_path)))


def _check_gradients(network: Trainable) -> None:
    step = training_step(network, MeanSquaredError(), Sgd())
    assert len(step.state) == len(network.trained) > 10
