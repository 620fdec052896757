"""Scores of model files against what they are by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from jointdnn_tvm.errors import RunError
from jointdnn_tvm.network import TensorSpec
from jointdnn_tvm.training.examples import Examples
from jointdnn_tvm.training.labels import LabelSpec
from jointdnn_tvm.training.score import score

X = np.array([[3, 1], [0, 2], [5, 4], [1, 6], [8, 7]], np.float32)
INPUTS = (TensorSpec("x", (2, 2), "float32"),)
IDS = LabelSpec("label", (2,), "int64", classes=2, class_axis=1)
SHARES = LabelSpec("label", (2, 2), "float32", class_axis=1)
NUMBERS = LabelSpec("label", (2, 2), "float32")


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """A model for batches of two, whose outputs are its input, and its logarithm."""
    infos = [helper.make_tensor_value_info(name, 1, [2, 2]) for name in ("x", "y", "z")]
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Log", ["x"], ["z"])]
    graph = helper.make_graph(nodes, "identity", infos[:1], infos[1:])
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize(
    ("label", "spec", "expected"),
    [
        (np.array([0, 1, 1, 1, 1]), IDS, {"accuracy": 0.6}),  # the last of a batch that is not full
        (np.array([0, 1, 1, 1, 0]), IDS, {"accuracy": 0.8}),
        (np.eye(2, dtype=np.float32)[[1, 1, 1, 1, 1]] * 0.9, SHARES, {"accuracy": 0.4}),
        (X + np.array([[1, -3]], np.float32), NUMBERS, {"mean_abs_error": 2.0}),
        (None, None, {"loss": float(X[:4].mean())}),
    ],
)
def test_score(
    identity: Path, label: np.ndarray | None, spec: LabelSpec | None, expected: dict[str, float]
) -> None:
    arrays = {"x": X[:4]} if label is None else {"x": X, "label": label}
    assert score(identity, Examples(arrays, INPUTS, spec), "y") == pytest.approx(expected)


def test_answer_that_is_no_number(identity: Path) -> None:
    examples = Examples({"x": X, "label": X}, INPUTS, NUMBERS)
    with pytest.raises(RunError, match=r"m\.onnx: onnxruntime's answer in 'z' is no number"):
        score(identity, examples, "z")
