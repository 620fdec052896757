"""`jointdnn train`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from jointdnn_tvm.cli.arguments import positive
from jointdnn_tvm.training.batches import draw_order
from tests.command import Command, contents
from tests.training_models import open_mlp, small_cnn, small_mlp

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 6)).astype(np.float32)
Y = (X[:, :3] + 0.5 * X[:, 3:]).argmax(1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", x=X[:200], label=Y[:200])
    np.savez(tmp_path / "few.npz", x=X[:40], label=Y[:40])
    np.savez(tmp_path / "held.npz", x=X[200:], label=Y[200:])
    return tmp_path


def test_trains(jointdnn: Command, data: Path) -> None:
    model, out = open_mlp(data), data / "tuned.onnx"
    words = ["--data", data / "data.npz", "--validation", data / "held.npz", "--out", out]
    words += ["--epochs", 6, "--batch", 10, "--learning-rate", 0.02, "--schedule", "cosine"]
    ended = jointdnn("train", model, *words, "--json")
    assert ended.code == 0, ended
    result = json.loads(ended.out)
    assert result["scores"]["after"]["accuracy"] > 0.8 > result["scores"]["before"]["accuracy"]
    assert (result["steps"], result["batch"], result["examples"]) == (120, 10, 200)
    losses = [row["loss"] for row in result["epochs"]]
    assert len(losses) == 6
    assert losses[-1] == result["loss"] < 0.5 * losses[0]
    assert all(row["step_s"] > 0 and row["link_bytes"] == 0 for row in result["epochs"])
    assert "epoch 6 of 6: loss 0." in ended.err
    judged = [row["validation"] for row in result["epochs"]]
    assert judged[-1]["accuracy"] == pytest.approx(result["scores"]["after"]["accuracy"])
    assert judged[-1]["loss"] < judged[0]["loss"]
    scores = _run(out, X[200:])
    assert (scores.argmax(1) == Y[200:]).mean() == result["scores"]["after"]["accuracy"]


def _run(path: Path, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["scores"], {"x": x})[0])


def test_only_what_is_asked_for(jointdnn: Command, data: Path) -> None:
    """In batches as the file has them; the text names weights, steps and batch."""
    model, out = small_mlp(data), data / "tuned.onnx"
    words = ["--data", data / "few.npz", "--out", out, "--last-layers", 1, "--optimizer", "sgd"]
    words += ["--accumulate", 4, "--epochs", 1, "--weights", "*.b", "--clip-norm", 1]
    ended = jointdnn("train", model, *words)
    assert ended.code == 0, ended
    assert f"{out}: 1 weight trained in 8 steps of 4 examples; loss " in ended.out
    old, new = (
        {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
        for path in (model, out)
    )
    changed = {name for name, array in old.items() if not np.array_equal(array, new[name])}
    assert changed == {"second.b"}


def test_same_seed_same_file(jointdnn: Command, data: Path) -> None:
    model = small_mlp(data)
    files: list[bytes] = []
    for seed in (1, 1, 2):
        out = data / f"tuned{len(files)}.onnx"
        words = ["--data", data / "few.npz", "--out", out, "--dropout", "--seed", seed]
        assert jointdnn("train", model, *words).code == 0
        files.append(out.read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize(("good", "told"), [(0, "nothing is written"), (5, "are in {}")])
def test_loss_that_is_no_number(good: int, told: str, jointdnn: Command, data: Path) -> None:
    """Training stops; the file holds the last good step."""
    x = X[:40].copy()
    x[draw_order(40, 0, 0)[4 * good]] = np.nan
    np.savez(data / "few.npz", x=x, label=Y[:40])
    model, out = small_mlp(data), data / "tuned.onnx"
    line = jointdnn("train", model, "--data", data / "few.npz", "--out", out).complaint
    assert line.startswith(f"the loss is nan in step {good + 1}; ")
    assert f"{told.format(out)}; lower --learning-rate, give --clip-norm, or look at" in line
    assert out.exists() == bool(good)
    if good:
        for tensor in onnx.load(out).graph.initializer:
            assert np.isfinite(numpy_helper.to_array(tensor)).all()


FIXED = "--batch 3: input 'x' has a batch of 4, in the file or by --shape; leave --batch out"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--optimizer", "lion"], "no optimizer is named 'lion'; there are sgd, momentum, nester"),
        (["--optimizer", "adam", "--momentum", "0.9"], "optimizer 'adam' has no momentum; leave"),
        (["--loss", "hinge"], "no loss is named 'hinge'; there are cross-entropy, soft-cross-ent"),
        (["--loss", "mse"], "'label' is int64 of [40]; training takes float32 of [N, 3]"),
        (["--class-axis", "2"], "has no dimension 2 for the scores of classes; choose another"),
        (["--loss-output", "none"], "no output is named 'none'; the outputs are scores, hidden"),
        (["--schedule", "steep"], "no schedule is named 'steep'; there are constant, linear"),
        (["--warmup", "11"], "a warm-up of 11 steps is no part of 10; give fewer"),
        (["--weights", "none*"], "no trainable weight is named 'none*'; the network's 4 are first"),
        (["--batch", "3"], FIXED),
        (["--accumulate", "11"], "--accumulate 11: 1 epochs have 10 batches in all, so that the"),
        (["--data", "nowhere.npz"], "nowhere.npz is no .npz file of plain arrays (No such file"),
        (["--shape", "y=1,2"], "no input is named 'y'"),
        (["--out", "nowhere/tuned.onnx"], "'nowhere/tuned.onnx' cannot be written (No such file"),
    ],
)
def test_what_cannot_be(words: list[str], told: str, jointdnn: Command, data: Path) -> None:
    model = small_mlp(data)
    before = contents(data)
    given = ["--data", data / "few.npz", "--out", data / "tuned.onnx", *words]
    assert told in jointdnn("train", model, *given).complaint
    assert contents(data) == before


def test_batch_larger_than_the_data(jointdnn: Command, data: Path) -> None:
    words = ["--data", data / "few.npz", "--out", data / "tuned.onnx", "--batch", 41]
    line = jointdnn("train", open_mlp(data), *words).complaint
    assert line.startswith("a batch of 41 is more than the 40 examples that there are; give a sm")


def test_labels_of_no_class(jointdnn: Command, data: Path) -> None:
    np.savez(data / "few.npz", x=X, label=Y - 1)
    words = ["--data", data / "few.npz", "--out", data / "tuned.onnx"]
    line = jointdnn("train", small_mlp(data), *words).complaint
    assert line.startswith("'label' holds class -1, but the network tells classes 0 to 2 apart")


def test_nothing_to_train_and_no_gradient(jointdnn: Command, data: Path) -> None:
    model = data / "fixed.onnx"
    infos = [helper.make_tensor_value_info(name, 1, [2, 6]) for name in ("x", "y")]
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    opsets = [helper.make_opsetid("", 18)]
    graph = helper.make_graph(nodes, "fixed", infos[:1], infos[1:])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), model)
    words = ["--data", data / "few.npz", "--out", data / "tuned.onnx"]
    line = jointdnn("train", model, *words).complaint
    assert line.startswith("the network has no weight that could be trained")
    graph.initializer.append(numpy_helper.from_array(np.ones((6, 6), np.float32), "w"))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("TopK", ["m", "k"], ["y", "i"]),
    ]
    graph.initializer.append(numpy_helper.from_array(np.array([3]), "k"))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [2, 3]))
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), model)
    line = jointdnn("train", model, *words).complaint
    assert "has no gradient; train only weights that come after it" in line


def test_usage(jointdnn: Command, data: Path) -> None:
    for words in (["--epochs", "0"], ["--batch", "x"], ["--learning-rate", "-1"]):
        given = ["--data", data / "few.npz", "--out", data / "tuned.onnx", *words]
        ended = jointdnn("train", small_cnn(data), *given)
        assert (ended.code, ended.out) == (2, "")
    assert positive("3") == 3
