"""Batch normalisation by running statistics that stay, or by those of the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from jointdnn_tvm.training.choose_weights import TrainedWeights
from jointdnn_tvm.training.trainable import Trainable, load_trainable
from tests.gradient_checks import compiled
from tests.onnx_models import make_model, run_onnx, save

X = np.random.default_rng(0).standard_normal((3, 4, 5, 2)).astype(np.float32)


def _model(**attributes: Any) -> Any:
    rng = np.random.default_rng(1)
    constants = {n: rng.uniform(0.5, 1.5, 4).astype(np.float32) for n in ("s", "b", "m", "v")}
    node = helper.make_node("BatchNormalization", ["x", *constants], ["y"], **attributes)
    return make_model([node], {"x": X.shape}, ["y"], constants)


def _results(network: Trainable) -> list[Any]:
    return compiled(network.module)(X, *network.weights.values())


def test_frozen_by_running_statistics(tmp_path: Path) -> None:
    model = _model(epsilon=0.01)
    network = load_trainable(save(model, tmp_path))
    assert [tensor.source for tensor in network.trained] == ["s", "b"]
    assert network.statistics == ()
    (y,) = _results(network)
    np.testing.assert_allclose(y, run_onnx(model, {"x": X})[0], rtol=1e-5, atol=1e-6)


def test_statistics_of_the_batch(tmp_path: Path) -> None:
    model = _model(epsilon=0.01, momentum=0.7)
    network = load_trainable(save(model, tmp_path), batch_norm="batch")
    assert [tensor.source for tensor in network.statistics] == ["m", "v"]
    y, mean, variance = _results(network)
    training = _model(epsilon=0.01, momentum=0.7, training_mode=1)
    training.graph.node[0].output.extend(["mean", "variance"])
    training.graph.output.extend(
        type(training.graph.output[0])(name=n) for n in ("mean", "variance")
    )
    for found, expected in zip((y, mean, variance), run_onnx(training, {"x": X}), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_statistics_move_though_scale_and_shift_stay(tmp_path: Path) -> None:
    model = _model()
    network = load_trainable(
        save(model, tmp_path), batch_norm="batch", trained=TrainedWeights(names=("s",))
    )
    assert len(_results(network)) == 3


@pytest.mark.parametrize("trained", ["s", "b"])
def test_one_of_scale_and_shift_may_stay(tmp_path: Path, trained: str) -> None:
    model = _model()
    network = load_trainable(save(model, tmp_path), trained=TrainedWeights(names=(trained,)))
    (y,) = _results(network)
    np.testing.assert_allclose(y, run_onnx(model, {"x": X})[0], rtol=1e-5, atol=1e-6)
