from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import OnnxGraph, make_node


@pytest.fixture
def graph() -> OnnxGraph:
    graph = OnnxGraph(inputs=["x"], outputs=["y"])
    graph.types["x"] = helper.make_tensor_type_proto(1, (2, 3))
    return graph


def test_chain(graph: OnnxGraph) -> None:
    write = Writer(make_node("Old", ["x"], ["y"]), graph)
    nodes = write.finish("Relu", write("Neg", "x"))
    assert [node.op for node in nodes] == ["Neg", "Relu"]
    assert nodes[0].outputs == nodes[1].inputs
    assert nodes[1].outputs == ["y"]


def test_outputs_that_nobody_wants_are_not_made(graph: OnnxGraph) -> None:
    write = Writer(make_node("Old", ["x"], ["", "z"]), graph)
    assert write.finish("Relu", "x") == []
    write.produce("z", "Neg", "x")
    assert [node.outputs for node in write.nodes] == [["z"]]


def test_constants(graph: OnnxGraph) -> None:
    write = Writer(make_node("Old", ["x"], ["y"]), graph)
    assert graph.constants[write.ints(1, 2)].tolist() == [1, 2]
    assert graph.constants[write.scalar(3)].shape == ()
    assert graph.constants[write.like(0.5, "x")].dtype == np.float32


def test_split(graph: OnnxGraph) -> None:
    write = Writer(make_node("Old", ["x"], ["y"]), graph)
    assert write.split("x", 1, axis=0) == ["x"]
    assert len(write.split("x", 3, axis=1)) == 3
    parts = write.split("x", [1, 2], axis=1)
    assert len(set(parts)) == 2
    assert graph.constants[write.nodes[-1].input(1)].tolist() == [1, 2]


def test_cast_only_where_types_differ(graph: OnnxGraph) -> None:
    write = Writer(make_node("Old", ["x"], ["y"]), graph)
    assert write.cast("x", np.dtype(np.float32)) == "x"
    assert write.cast("x", np.dtype(np.int64)) != "x"
