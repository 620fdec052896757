from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.onnx_models import assert_same_answers, make_model, operators, random_like, simplified


def test_nothing_is_left_of_nothing(tmp_path: Path) -> None:
    constants = {
        "shape": np.array([2, 3]),
        "zeros": np.zeros(4, np.int64),
        "starts": np.array([0]),
        "ends": np.array([99]),
    }
    nodes = [
        helper.make_node("Identity", ["x"], ["a"]),
        helper.make_node("Dropout", ["a"], ["b"]),
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["c", "shape"], ["d"]),
        helper.make_node("Expand", ["d", "shape"], ["e"]),
        helper.make_node("Pad", ["e", "zeros"], ["f"]),
        helper.make_node("Slice", ["f", "starts", "ends"], ["g"]),
        helper.make_node("Concat", ["g"], ["h"], axis=0),
        helper.make_node("Sum", ["h"], ["i"]),
        helper.make_node("Relu", ["i"], ["y"]),
    ]
    model = make_model(nodes, {"x": (2, 3)}, ["y"], constants)
    assert operators(assert_same_answers(model, tmp_path)) == ["Relu"]


def test_backward_slice_is_not_nothing(tmp_path: Path) -> None:
    constants = {
        "starts": np.array([-1]),
        "ends": np.array([-99]),
        "axes": np.array([1]),
        "steps": np.array([-1]),
    }
    node = helper.make_node("Slice", ["x", *constants], ["y"])
    model = make_model([node], {"x": (2, 3)}, ["y"], constants)
    assert operators(assert_same_answers(model, tmp_path)) == ["Slice"]


def test_output_may_be_an_input(tmp_path: Path) -> None:
    model = make_model([helper.make_node("Identity", ["x"], ["y"])], {"x": (2, 3)}, ["y"])
    graph = simplified(model, tmp_path)
    assert graph.outputs == ["x"]
    assert not graph.nodes


def test_shapes_are_constants(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], start=1),
        helper.make_node("Size", ["x"], ["size"]),
        helper.make_node("EyeLike", ["x"], ["eye"], k=1),
    ]
    graph = simplified(make_model(nodes, {"x": (2, 3)}, ["shape", "size", "eye"]), tmp_path)
    shape, size, eye = (graph.constants[name] for name in graph.outputs)
    assert shape.tolist() == [3]
    assert size == 6
    np.testing.assert_array_equal(eye, np.eye(2, 3, 1, np.float32))


@pytest.mark.parametrize("training", [False, True])
def test_dropout_that_trains_is_kept(training: bool, tmp_path: Path) -> None:
    constants = {"ratio": np.float32(0.5), "training": np.array(training)}
    node = helper.make_node("Dropout", ["x", *constants], ["y"])
    model = make_model([node], {"x": (2, 3)}, ["y"], constants)
    assert operators(simplified(model, tmp_path)) == (["Dropout"] if training else [])


def test_constant_arithmetic_is_evaluated(tmp_path: Path) -> None:
    constants = {"a": random_like((2, 3)), "b": random_like((3,))}
    nodes = [
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Transpose", ["c"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    model = make_model(nodes, {"x": (4, 3)}, ["y"], constants)
    assert operators(assert_same_answers(model, tmp_path)) == ["MatMul"]


@pytest.mark.parametrize(
    ("constants", "left"),
    [
        ({"ratio": np.float32(0.5), "training": np.array(False)}, []),
        ({"ratio": np.float32(0), "training": np.array(True)}, []),
        ({"ratio": np.float32(0.5), "training": np.array(True)}, ["Dropout"]),
        ({"ratio": np.float32(0.5)}, ["Dropout"]),  # the mode comes with the query
    ],
)
def test_dropout(constants: dict[str, Any], left: list[str], tmp_path: Path) -> None:
    node = helper.make_node("Dropout", ["x", "ratio", "training"], ["y"])
    inputs = {"x": random_like((2, 3)), "training": np.array(False)}
    inputs = {name: value for name, value in inputs.items() if name not in constants}
    model = make_model([node], inputs, ["y"], constants)
    assert operators(simplified(model, tmp_path)) == left
