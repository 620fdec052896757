from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.check_model import MAX_OPSET, sort_nodes
from jointdnn_tvm.importer.read_model import read_onnx_graph
from tests.onnx_models import make_model, random_like, save

RELU = helper.make_node("Relu", ["x"], ["y"])


def relu() -> onnx.ModelProto:
    return make_model([RELU], {"x": (2, 3)}, ["y"])


def refused(model: onnx.ModelProto, folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_onnx_graph(save(model, folder), {})
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("opset", [0, -1, MAX_OPSET + 1, 999])
def test_unknown_operator_set(opset: int, tmp_path: Path) -> None:
    model = relu()
    model.opset_import[0].version = opset
    assert f"uses operator set {opset}; known are 1 to {MAX_OPSET}" in refused(model, tmp_path)


def test_no_operator_set(tmp_path: Path) -> None:
    model = relu()
    del model.opset_import[:]
    assert "does not say which operator set" in refused(model, tmp_path)


def test_no_node(tmp_path: Path) -> None:
    model = make_model([], {"x": (2, 3)}, ["x"])
    assert "has no node" in refused(model, tmp_path)


def test_no_output(tmp_path: Path) -> None:
    assert "has no output" in refused(make_model([RELU], {"x": (2, 3)}, []), tmp_path)


def test_output_of_no_node(tmp_path: Path) -> None:
    model = make_model([RELU], {"x": (2, 3)}, ["z"])
    assert "output 'z' is produced by no node" in refused(model, tmp_path)


def test_two_outputs_of_one_name(tmp_path: Path) -> None:
    model = make_model([RELU], {"x": (2, 3)}, ["y", "y"])
    assert "output name 'y' is used 2 times" in refused(model, tmp_path)


def test_two_nodes_with_one_result(tmp_path: Path) -> None:
    model = make_model([RELU, RELU], {"x": (2, 3)}, ["y"])
    assert "value name 'y' is used 2 times" in refused(model, tmp_path)


def test_result_named_like_a_weight(tmp_path: Path) -> None:
    model = make_model([RELU], {"x": (2, 3)}, ["y"], {"y": random_like((2, 3))})
    assert "value name 'y' is used 2 times" in refused(model, tmp_path)


def test_cycle(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"]),
    ]
    message = refused(make_model(nodes, {"x": (2, 3)}, ["b"]), tmp_path)
    assert "has a cycle through node 'first'" in message


def test_nodes_out_of_order_are_sorted(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Abs", ["x"], ["a"])]
    graph = read_onnx_graph(save(make_model(nodes, {"x": (2, 3)}, ["y"]), tmp_path), {})
    assert [node.op for node in graph.nodes] == ["Abs", "Relu"]


def test_order_holds_for_what_a_branch_reads() -> None:
    then = helper.make_graph([helper.make_node("Relu", ["a"], ["t"])], "t", [], [])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=then)
    graph = helper.make_graph([branch, helper.make_node("Abs", ["x"], ["a"])], "g", [], [])
    sort_nodes(graph)
    assert [node.op_type for node in graph.node] == ["Abs", "If"]


def test_text(tmp_path: Path) -> None:
    model = relu()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    assert "'x' holds text" in refused(model, tmp_path)


def test_sequence_as_input(tmp_path: Path) -> None:
    model = relu()
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, (2, 3)))
    model.graph.input[0].type.CopyFrom(kind)
    assert "'x' is a sequence, not a tensor" in refused(model, tmp_path)


def test_sparse_weights(tmp_path: Path) -> None:
    model = relu()
    model.graph.sparse_initializer.add().dims.append(3)
    assert "sparse weights" in refused(model, tmp_path)


def test_value_from_nowhere(tmp_path: Path) -> None:
    model = make_model([helper.make_node("Add", ["x", "z"], ["y"])], {"x": (2, 3)}, ["y"])
    assert "not valid ONNX" in refused(model, tmp_path)


def test_missing_attribute(tmp_path: Path) -> None:
    model = make_model([helper.make_node("Concat", ["x"], ["y"])], {"x": (2, 3)}, ["y"])
    assert "not valid ONNX" in refused(model, tmp_path)


def test_outputs_without_a_type_are_taken(tmp_path: Path) -> None:
    model = relu()
    assert not model.graph.output[0].HasField("type")
    read_onnx_graph(save(model, tmp_path), {})
