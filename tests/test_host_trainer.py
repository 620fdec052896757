"""Training on this machine, against what PyTorch did with the same networks and batches.

`torch_losses.json` is what `benchmarks/torch_losses.py` wrote.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from jointdnn_tvm.errors import DivergedError, RunError
from jointdnn_tvm.training.host_trainer import HostTrainer
from jointdnn_tvm.training.losses import CrossEntropy, MeanSquaredError
from jointdnn_tvm.training.optimizers import OPTIMIZERS, Adam, AdamW, Optimizer, Sgd
from jointdnn_tvm.training.step import training_step
from jointdnn_tvm.training.trainable import load_trainable
from tests.training_models import TASKS, small_mlp

RUNS = json.loads((Path(__file__).parent / "torch_losses.json").read_text())["runs"]
SETTINGS: dict[str, Optimizer] = {
    "sgd": Sgd(),
    "momentum": Sgd(momentum=0.9, weight_decay=1e-3),
    "nesterov": Sgd(momentum=0.9, nesterov=True),
    "adam": Adam(weight_decay=1e-2),
    "adamw": AdamW(weight_decay=0.05),
}
QUICK = ("small_cnn-momentum-batch_norm", "transformer-adamw-clip_norm")


def _parameters() -> list[Any]:
    found = []
    for run in RUNS:
        name = "-".join([run["network"], run["optimizer"], *run["options"]])
        marks = [] if name in QUICK else [pytest.mark.slow]
        found.append(pytest.param(run, id=name, marks=marks))
    return found


@pytest.mark.parametrize("run", _parameters())
def test_as_pytorch(run: dict[str, Any], tmp_path: Path) -> None:
    task, options = TASKS[run["network"]], run["options"]
    path = task.model(tmp_path)
    batch_norm = options.get("batch_norm", "frozen")
    step = training_step(
        load_trainable(path, {task.input: task.shape}, batch_norm=batch_norm),
        CrossEntropy(),
        SETTINGS[run["optimizer"]],
        clip_norm=options.get("clip_norm"),
    )
    trainer = HostTrainer(step)
    first = trainer.weights()
    found = []
    for number in range(len(run["losses"])):
        inputs, labels = task.batch(number)
        rate = run["learning_rate"]
        found.append(trainer.step({task.input: inputs}, labels, learning_rate=rate))
    np.testing.assert_allclose(found, run["losses"], rtol=1e-4)
    weights = trainer.weights()
    moved = {name: float(np.linalg.norm(weights[name] - first[name])) for name in run["moved"]}
    for name, distance in run["moved"].items():
        np.testing.assert_allclose(moved[name], distance, rtol=1e-2, atol=1e-6, err_msg=name)
    for name, values in run["statistics"].items():
        np.testing.assert_allclose(weights[name], values, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> HostTrainer:
    network = load_trainable(small_mlp(tmp_path_factory.mktemp("mlp")), dropout=True)
    return HostTrainer(training_step(network, CrossEntropy(), OPTIMIZERS["momentum"]()))


X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
Y = np.array([0, 1, 2, 1])


def test_weights_start_as_in_the_file(tmp_path: Path) -> None:
    path = small_mlp(tmp_path)
    network = load_trainable(path)
    fresh = HostTrainer(training_step(network, CrossEntropy(), Sgd()))
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    found = fresh.weights()
    assert found.keys() == {tensor.source for tensor in network.trained}
    for name, array in found.items():
        np.testing.assert_array_equal(array, stored[name])


def test_same_seed_same_masks(tmp_path: Path) -> None:
    step = training_step(load_trainable(small_mlp(tmp_path), dropout=True), CrossEntropy(), Sgd())

    def losses(seed: int) -> list[float]:
        fresh = HostTrainer(step, seed=seed)
        return [fresh.step({"x": X}, Y, learning_rate=0.1) for _ in range(3)]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_learning_rate_of_zero_moves_nothing(trainer: HostTrainer) -> None:
    before = trainer.weights()
    trainer.step({"x": X}, Y, learning_rate=0.0)
    for name, array in trainer.weights().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("inputs", "label", "message"),
    [
        ({}, Y, r"'x' is missing; give an array of \[4, 6\]"),
        ({"x": X[:3]}, Y, r"'x' is float32 of \[3, 6\]; give float32 of \[4, 6\]"),
        ({"x": X.astype(np.float64)}, Y, r"'x' is float64 .* give float32"),
        ({"x": X}, None, r"'label' is missing"),
        ({"x": X}, Y[:, None], r"'label' is int64 of \[4, 1\]; give int64 of \[4\]"),
        ({"x": X}, Y.astype(np.float32), r"'label' is float32 of \[4\]; give int64"),
        ({"x": X}, Y + 1, "'label' holds class 3, but the network tells classes 0 to 2 apart"),
    ],
)
def test_what_does_not_fit(
    trainer: HostTrainer, inputs: dict[str, Any], label: Any, message: str
) -> None:
    taken = trainer.steps
    with pytest.raises(RunError, match=message):
        trainer.step(inputs, label, learning_rate=0.1)
    assert trainer.steps == taken


def test_loss_goes_down(tmp_path: Path) -> None:
    network = load_trainable(small_mlp(tmp_path))
    fresh = HostTrainer(training_step(network, MeanSquaredError(), Adam()))
    target = np.eye(3, dtype=np.float32)[Y]
    losses = [fresh.step({"x": X}, target, learning_rate=0.01) for _ in range(100)]
    assert losses[-1] < 0.01 * losses[0]


def test_step_that_leaves_the_numbers_is_not_taken(tmp_path: Path) -> None:
    step = training_step(load_trainable(small_mlp(tmp_path)), MeanSquaredError(), Sgd(0.9))
    fresh, steady = HostTrainer(step), HostTrainer(step)
    far = np.full((4, 3), 1e18, np.float32)
    for trainer in (fresh, steady):
        trainer.step({"x": X}, far, learning_rate=1e-20)
    with pytest.raises(DivergedError, match=r"in step 2 '.*' would leave the finite numbers"):
        fresh.step({"x": X}, far, learning_rate=1e30)
    with pytest.raises(DivergedError, match="the loss is inf in step 2"):
        fresh.step({"x": X}, far * 100, learning_rate=0.0)
    assert fresh.steps == 1
    for trainer in (fresh, steady):
        trainer.step({"x": X}, far, learning_rate=1e-20)
    for name, array in steady.weights().items():
        np.testing.assert_array_equal(fresh.weights()[name], array)


def test_large_numbers_are_finite(tmp_path: Path) -> None:
    """Though the sum of their squares is not."""
    step = training_step(load_trainable(small_mlp(tmp_path)), MeanSquaredError(), Sgd())
    fresh = HostTrainer(step)
    fresh.step({"x": X}, np.full((4, 3), 1e18, np.float32), learning_rate=1e6)
    assert max(np.abs(array).max() for array in fresh.weights().values()) > 1e20
