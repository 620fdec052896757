from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from tests.onnx_models import (
    assert_same_answers,
    make_model,
    operators,
    random_like,
    run_onnx,
    simplified,
    to_model,
)


def test_build_change_and_read(tmp_path: Path) -> None:
    constants = {"one": np.array(1), "last": np.array(-1)}
    nodes = [
        helper.make_node("SequenceEmpty", [], ["s0"]),
        helper.make_node("SequenceInsert", ["s0", "a"], ["s1"]),
        helper.make_node("SequenceInsert", ["s1", "b"], ["s2"]),
        helper.make_node("SequenceInsert", ["s2", "a", "one"], ["s3"]),
        helper.make_node("SequenceErase", ["s3", "last"], ["s4"]),
        helper.make_node("SequenceLength", ["s4"], ["n"]),
        helper.make_node("SequenceAt", ["s3", "last"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    model = make_model(nodes, {"a": (2, 3), "b": (2, 3)}, ["y", "n"], constants)
    graph = assert_same_answers(model, tmp_path)
    assert operators(graph) == ["Relu"]


def test_split_and_concat(tmp_path: Path) -> None:
    constants = {"sizes": np.array([1, 3])}
    nodes = [
        helper.make_node("SplitToSequence", ["x", "sizes"], ["s"], axis=1),
        helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=1),
        helper.make_node("SplitToSequence", ["x"], ["rows"], axis=0, keepdims=0),
        helper.make_node("ConcatFromSequence", ["rows"], ["z"], axis=1, new_axis=1),
    ]
    model = make_model(nodes, {"x": (2, 4)}, ["y", "z"], constants)
    assert_same_answers(model, tmp_path)


def test_split_into_equal_steps(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("SplitToSequence", ["x", "step"], ["s"], axis=1),
        helper.make_node("SequenceAt", ["s", "step"], ["y"]),
    ]
    model = make_model(nodes, {"x": (2, 5)}, ["y"], {"step": np.array(2)})
    x = random_like((2, 5))  # onnxruntime 1.32 dies of this model
    (answer,) = run_onnx(to_model(simplified(model, tmp_path)), {"x": x})
    np.testing.assert_array_equal(answer, x[:, 4:])


def test_optional_input_is_taken_as_given(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("OptionalGetElement", ["x"], ["v"]),
        helper.make_node("OptionalHasElement", ["x"], ["has"]),
        helper.make_node("Relu", ["v"], ["y"]),
    ]
    model = make_model(nodes, {"x": (2, 3)}, ["y", "has"])
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, (2, 3)))
    model.graph.input[0].type.CopyFrom(kind)
    graph = simplified(model, tmp_path)
    x = random_like((2, 3))
    answer, has = run_onnx(to_model(graph), {"x": x})
    np.testing.assert_array_equal(answer, np.maximum(x, 0))
    assert has
