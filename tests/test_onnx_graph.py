from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph, make_node


@pytest.fixture
def graph() -> OnnxGraph:
    graph = OnnxGraph(inputs=["x"], outputs=["y"])
    graph.types["x"] = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT16, (2, "N"))
    return graph


def test_attributes() -> None:
    node = make_node("Any", ["x"], ["y"], ints=[1, 2], number=1.5, text="abc")
    assert node.attribute("ints") == [1, 2]
    assert node.attribute("number") == 1.5
    assert node.attribute("text") == "abc"
    assert node.attribute("absent", 7) == 7


def test_inputs_that_are_absent() -> None:
    node = make_node("Clip", ["x", "", "high"], ["y"])
    assert [node.input(i) for i in range(5)] == ["x", "", "high", "", ""]


def test_names_in_messages() -> None:
    assert make_node("Relu", ["x"], ["y"]).describe() == "node 'y' (Relu)"
    named = Node(helper.make_node("Relu", ["x"], ["y"], name="r"), 13)
    assert named.describe() == "node 'r' (Relu)"


def test_renaming_copies() -> None:
    node = make_node("Add", ["a", "b"], ["c"])
    renamed = node.with_names(["a", "d"], ["c"])
    assert renamed.inputs == ["a", "d"]
    assert node.inputs == ["a", "b"]
    assert node.with_inputs(lambda name: name) is node


def test_domain_has_two_spellings() -> None:
    assert Node(helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx")).domain == ""


def test_types(graph: OnnxGraph) -> None:
    assert graph.dtype("x") == np.float16
    assert graph.shape("x") is None
    assert graph.dtype("nothing") is None
    name = graph.constant(np.zeros((2, 3), np.int64))
    assert graph.shape(name) == (2, 3)
    assert graph.dtype(name) == np.int64


def test_fresh_names_differ(graph: OnnxGraph) -> None:
    assert len({graph.fresh("a") for _ in range(5)}) == 5


def test_renames_are_followed(graph: OnnxGraph) -> None:
    graph.replace("c", "b")
    graph.replace("b", "a")
    assert graph.resolve("c") == "a"
    assert graph.resolve("z") == "z"
