"""Trained weights back in their file, as onnxruntime and the onnx package read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.training.choose_weights import TrainedWeights
from jointdnn_tvm.training.host_trainer import HostTrainer
from jointdnn_tvm.training.losses import CrossEntropy
from jointdnn_tvm.training.optimizers import Sgd
from jointdnn_tvm.training.step import training_step
from jointdnn_tvm.training.trainable import load_trainable
from jointdnn_tvm.training.write_onnx import check_can_write, write_onnx
from jointdnn_tvm.verify import Reference
from tests.command import contents
from tests.training_models import TASKS, small_cnn, small_mlp

Array = np.ndarray[Any, Any]


def initializers(path: Path) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("task", ["small_cnn", "transformer"])
def test_onnxruntime_computes_what_was_trained(task: str, tmp_path: Path) -> None:
    """The loss of the next step is that of the file, running statistics included."""
    chosen = TASKS[task]
    source, target = chosen.model(tmp_path), tmp_path / "tuned.onnx"
    trainer = HostTrainer(training_step(load_trainable(source), CrossEntropy(), Sgd(0.9)))
    for number in range(3):
        inputs, labels = chosen.batch(number)
        trainer.step({chosen.input: inputs}, labels, learning_rate=0.05)
    write_onnx(source, trainer.weights(), target)
    inputs, labels = chosen.batch(3)
    (scores,) = Reference(target).run({chosen.input: inputs}).values()
    if np.allclose(scores.sum(1), 1):
        scores = np.log(scores)
    scores = scores.astype(np.float64)
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    expected = -logs[np.arange(len(labels)), labels].mean()
    found = trainer.step({chosen.input: inputs}, labels, learning_rate=0.05)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_statistics_of_batches(tmp_path: Path) -> None:
    task = TASKS["small_cnn"]
    source, target = task.model(tmp_path), tmp_path / "tuned.onnx"
    network = load_trainable(source, batch_norm="batch")
    trainer = HostTrainer(training_step(network, CrossEntropy(), Sgd()))
    inputs, labels = task.batch(0)
    trainer.step({task.input: inputs}, labels, learning_rate=0.05)
    write_onnx(source, trainer.weights(), target)
    before, after = initializers(source), initializers(target)
    for name, array in trainer.weights().items():
        np.testing.assert_array_equal(after[name], array)
    assert not np.array_equal(after["norm1.mean"], before["norm1.mean"])


def test_the_rest_stays_as_it_is(tmp_path: Path) -> None:
    source, target = small_mlp(tmp_path), tmp_path / "tuned.onnx"
    network = load_trainable(source, trained=TrainedWeights(last_layers=1))
    new = {t.source: np.ones(t.form.shape, np.float32) for t in network.trained}
    assert new.keys() == {"second.w", "second.b"}
    write_onnx(source, new, target)
    expected = onnx.load(source)
    for tensor in expected.graph.initializer:
        if tensor.name in new:
            tensor.CopyFrom(numpy_helper.from_array(new[tensor.name], tensor.name))
    assert onnx.load(target) == expected


def test_constant_nodes(tmp_path: Path) -> None:
    source, target = small_mlp(tmp_path), tmp_path / "tuned.onnx"
    model = onnx.load(source)
    for tensor in [t for t in model.graph.initializer if t.name == "first.w"]:
        model.graph.node.insert(0, helper.make_node("Constant", [], ["first.w"], value=tensor))
        model.graph.initializer.remove(tensor)
    onnx.save(model, source)
    (tensor,) = load_trainable(source, trained=TrainedWeights(names=("first.w",))).trained
    array = np.full(tensor.form.shape, 2, np.float32)
    write_onnx(source, {tensor.source: array}, target)
    node = onnx.load(target).graph.node[0]
    np.testing.assert_array_equal(numpy_helper.to_array(node.attribute[0].t), array)


def test_tensors_in_files_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    source, target = small_cnn(tmp_path / "from"), tmp_path / "to" / "tuned.onnx"
    model = onnx.load(source)
    onnx.save(model, source, save_as_external_data=True, location="w", size_threshold=0)
    before = initializers(source)
    write_onnx(source, {"dense.b": np.ones(5, np.float32)}, target)
    assert sorted(p.name for p in target.parent.iterdir()) == ["tuned.onnx", "tuned.onnx.data"]
    after = initializers(target)
    assert after.keys() == before.keys()
    for name, array in after.items():
        np.testing.assert_array_equal(array, before[name] if name != "dense.b" else np.ones(5))
    Reference(target)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"third.w": np.zeros(3, np.float32)}, "has no constant 'third.w'; it is not the file"),
        ({"second.b": np.zeros(4, np.float32)}, r"'second.b' is of shape \[3\] in .*, not \[4\]"),
        ({"second.b": np.zeros(3)}, "'second.b' .* or of another dtype"),
    ],
)
def test_another_file(weights: dict[str, Array], told: str, tmp_path: Path) -> None:
    source = small_mlp(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ModelError, match=told):
        write_onnx(source, weights, tmp_path / "tuned.onnx")
    assert contents(tmp_path) == before


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    source = small_mlp(tmp_path)
    check_can_write(tmp_path / "tuned.onnx", source)
    for target, told in (
        (tmp_path, "is a directory; name another file"),
        (source, "is the model itself; name another file"),
        (tmp_path / "none" / "tuned.onnx", "cannot be written (No such file or directory)"),
    ):
        with pytest.raises(ModelError) as error:
            check_can_write(target, source)
        assert told in str(error.value)
    with pytest.raises(ModelError, match="cannot be written"):
        write_onnx(source, {}, tmp_path / "none" / "tuned.onnx")
    assert [p.name for p in tmp_path.iterdir()] == [source.name]
