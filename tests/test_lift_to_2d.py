from __future__ import annotations

from pathlib import Path

from onnx import helper

from tests.onnx_models import assert_same_answers, make_model, operators, random_like


def test_convolution(tmp_path: Path) -> None:
    node = helper.make_node(
        "Conv", ["x", "w", "b"], ["y"], strides=[2], dilations=[2], pads=[1, 2], group=2
    )
    constants = {"w": random_like((4, 1, 3)), "b": random_like((4,))}
    model = make_model([node], {"x": (2, 2, 9)}, ["y"], constants)
    graph = assert_same_answers(model, tmp_path)
    assert operators(graph) == ["Unsqueeze", "Conv", "Squeeze"]
    assert graph.constants[graph.nodes[1].input(1)].shape == (4, 1, 1, 3)


def test_pools(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[3], strides=[2], pads=[1, 0]),
        helper.make_node(
            "AveragePool", ["a"], ["y"], kernel_shape=[2], pads=[1, 0], count_include_pad=1
        ),
    ]
    model = make_model(nodes, {"x": (1, 2, 9)}, ["y"])
    assert_same_answers(model, tmp_path)


def test_derived_padding(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_LOWER", strides=[2])
    model = make_model([node], {"x": (1, 2, 8)}, ["y"], {"w": random_like((3, 2, 4))})
    assert "Unsqueeze" in operators(assert_same_answers(model, tmp_path))
