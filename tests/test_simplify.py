from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from jointdnn_tvm.importer.simplify import REWRITES
from tests.onnx_models import assert_same_answers, make_model, operators, random_like


def test_a_rewrite_may_produce_what_another_rewrites(tmp_path: Path) -> None:
    """An old softmax over one axis of an identity of a constant shape."""
    nodes = [
        helper.make_node("Identity", ["x"], ["a"]),
        helper.make_node("Upsample", ["a", "scales"], ["b"], mode="nearest"),
        helper.make_node("Softmax", ["b"], ["y"], axis=3),
    ]
    scales = {"scales": np.array([1, 1, 3, 1], np.float32)}
    model = make_model(nodes, {"x": (1, 2, 3, 4)}, ["y"], scales, opset=9)
    graph = assert_same_answers(model, tmp_path)
    assert operators(graph) == ["Gather", "Softmax"]


def test_no_rewrite_twice() -> None:
    assert len(set(REWRITES)) == len(REWRITES)


def test_outputs_keep_their_order(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["b"]),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Identity", ["a"], ["c"]),
    ]
    model = make_model(nodes, {"x": (2, 3)}, ["c", "b", "a"])
    graph = assert_same_answers(model, tmp_path)
    assert graph.outputs == ["a", "x", "a"]


UNARY = ["Relu", "Neg", "Identity", "Sigmoid", "Abs"]
BINARY = ["Add", "Mul", "Sub", "Sum", "Max", "Min"]


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_random_graphs(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Constants and values mixed at will: what is constant is evaluated, the rest stays."""
    names = ["x", "k", "m"]
    nodes = []
    for index in range(data.draw(st.integers(1, 8))):
        output = f"v{index}"
        op = data.draw(st.sampled_from(UNARY + BINARY))
        count = 1 if op in UNARY else 2
        inputs = [data.draw(st.sampled_from(names)) for _ in range(count)]
        nodes.append(helper.make_node(op, inputs, [output]))
        names.append(output)
    outputs = data.draw(st.lists(st.sampled_from(names[3:]), min_size=1, unique=True))
    constants = {"k": random_like((3, 1), 1), "m": random_like((), 2)}
    model = make_model(nodes, {"x": (2, 3, 4)}, outputs, constants)
    graph = assert_same_answers(model, tmp_path_factory.mktemp("model"))
    assert not {"Identity", "Sum"} & set(operators(graph))
    assert all(not set(node.inputs) <= graph.constants.keys() for node in graph.nodes)
