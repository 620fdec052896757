"""Which weights are trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.onnx_graph import OnnxGraph
from jointdnn_tvm.importer.prune import prune
from jointdnn_tvm.importer.read_model import read_onnx_graph
from jointdnn_tvm.training.choose_weights import TrainedWeights, choose_weights
from tests.onnx_models import make_model, save
from tests.training_models import small_cnn, transformer


def _read(path: Path) -> OnnxGraph:
    graph = read_onnx_graph(path, {})
    prune(graph)
    return graph


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> OnnxGraph:
    return _read(small_cnn(tmp_path_factory.mktemp("cnn")))


def test_all_weights_but_running_statistics(cnn: OnnxGraph) -> None:
    expected = {name for name in cnn.constants if name.split(".")[-1] not in ("mean", "var")}
    chosen = choose_weights(cnn, TrainedWeights())
    assert set(chosen) == expected
    assert chosen[:4] == ["conv1.w", "conv1.b", "norm1.scale", "norm1.shift"]


def test_embeddings_and_no_settings_of_a_transformer(tmp_path: Path) -> None:
    graph = _read(transformer(tmp_path))
    chosen = choose_weights(graph, TrainedWeights())
    assert {"embedding", "positions", "qkv0.w", "qkv0.b", "l0.scale", "head.b"} < set(chosen)
    floats = {n for n, a in graph.constants.items() if a.dtype.kind == "f"}
    assert floats - set(chosen) == {"half", "one", "root", "scale"}


def test_last_layers(cnn: OnnxGraph) -> None:
    assert choose_weights(cnn, TrainedWeights(last_layers=1)) == ["dense.w", "dense.b"]
    last_four = choose_weights(cnn, TrainedWeights(last_layers=4))
    assert last_four[0] == "conv3.w"
    assert {"norm3.scale", "conv4.w"} < set(last_four)
    assert choose_weights(cnn, TrainedWeights(last_layers=99))[0] == "conv1.w"


def test_biases_only(cnn: OnnxGraph) -> None:
    assert choose_weights(cnn, TrainedWeights(biases_only=True)) == [
        *("conv1.b", "norm1.shift", "conv3.b", "norm3.shift", "conv5.b", "dense.b"),
    ]


def test_names(cnn: OnnxGraph) -> None:
    chosen = choose_weights(cnn, TrainedWeights(names=("conv*.b", "dense.w")))
    assert chosen == ["conv1.b", "conv3.b", "conv5.b", "dense.w"]


def test_name_that_no_weight_has(cnn: OnnxGraph) -> None:
    with pytest.raises(ModelError, match=r"no trainable weight is named 'fc\*'; .* 14 are conv1.w"):
        choose_weights(cnn, TrainedWeights(names=("conv*", "fc*")))


def test_filters_that_leave_nothing(cnn: OnnxGraph) -> None:
    with pytest.raises(ModelError, match="no weight is left to train: of 14 none fits"):
        choose_weights(cnn, TrainedWeights(last_layers=1, names=("conv*",)))


def test_weights_that_are_seen_in_another_shape(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["turned"]),
        helper.make_node("MatMul", ["x", "turned"], ["y"]),
        helper.make_node("Identity", ["b"], ["same"]),
        helper.make_node("Reshape", ["same", "row"], ["bias"]),
        helper.make_node("Add", ["y", "bias"], ["z"]),
    ]
    constants = {
        "w": np.ones((4, 3), np.float32),
        "b": np.ones(4, np.float32),
        "row": np.array([1, 4]),
    }
    graph = _read(save(make_model(nodes, {"x": (2, 3)}, ["z"], constants), tmp_path))
    assert choose_weights(graph, TrainedWeights()) == ["w", "b"]


def test_network_without_weights(tmp_path: Path) -> None:
    model = make_model(
        [helper.make_node("Mul", ["x", "two"], ["y"])],
        {"x": (3,)},
        ["y"],
        {"two": np.array([2.0], np.float32)},
    )
    with pytest.raises(ModelError, match="no weight that could be trained"):
        choose_weights(_read(save(model, tmp_path)), TrainedWeights())
