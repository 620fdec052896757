from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from tests.onnx_models import Array, assert_same_answers, make_model, operators, random_like


def batch_norm(source: str, output: str, seed: int) -> tuple[onnx.NodeProto, dict[str, Array]]:
    rng = np.random.default_rng(seed)
    constants = {
        f"{output}_{name}": rng.uniform(0.5, 1.5, 4).astype(np.float32)
        for name in ("scale", "bias", "mean", "variance")
    }
    node = helper.make_node("BatchNormalization", [source, *constants], [output], epsilon=0.01)
    return node, constants


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_chains(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any chain of scales and shifts after a convolution disappears in it."""
    kernel = random_like((4, 3, 3, 3))
    first = data.draw(st.sampled_from(["Conv", "ConvTranspose", "none"]))
    constants: dict[str, Array] = {}
    nodes = []
    channels, value = 3, "x"
    if first == "none":
        channels = 4
    else:
        constants["w"] = kernel if first == "Conv" else kernel.transpose(1, 0, 2, 3).copy()
        nodes.append(helper.make_node(first, ["x", "w"], ["c"]))
        value = "c"
    steps = data.draw(st.lists(st.sampled_from(["bn", "Add", "Sub", "Mul", "Div"]), max_size=4))
    for index, step in enumerate(steps):
        output = f"v{index}"
        if step == "bn":
            node, new = batch_norm(value, output, index)
            constants.update(new)
        else:
            shape = data.draw(st.sampled_from([(), (1,), (4, 1, 1), (1, 4, 1, 1)]))
            name = f"k{index}"
            constants[name] = (1.5 + np.abs(random_like(shape, index))).astype(np.float32)
            swap = step in ("Add", "Mul") and data.draw(st.booleans())
            node = helper.make_node(step, [name, value] if swap else [value, name], [output])
        nodes.append(node)
        value = output
    nodes.append(helper.make_node("Relu", [value], ["y"]))
    model = make_model(nodes, {"x": (2, channels, 5, 5)}, ["y"], constants)
    graph = assert_same_answers(model, tmp_path_factory.mktemp("model"), tolerance=1e-4)
    left = operators(graph)
    assert left.count("Mul") + left.count("Add") + left.count("Div") + left.count("Sub") <= (
        0 if first == "Conv" else 2
    )


def test_a_value_that_others_read_stays(tmp_path: Path) -> None:
    node, constants = batch_norm("c", "n", 0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        node,
        helper.make_node("Add", ["c", "n"], ["y"]),
    ]
    constants["w"] = random_like((4, 3, 1, 1))
    model = make_model(nodes, {"x": (1, 3, 4, 4)}, ["y"], constants)
    graph = assert_same_answers(model, tmp_path)
    assert operators(graph) == ["Conv", "Mul", "Add", "Add"]


def test_an_output_of_the_network_stays(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Mul", ["c", "k"], ["y"]),
    ]
    constants = {"w": random_like((4, 3, 1, 1)), "k": random_like((4, 1, 1))}
    model = make_model(nodes, {"x": (1, 3, 4, 4)}, ["c", "y"], constants)
    assert operators(assert_same_answers(model, tmp_path)) == ["Conv", "Mul"]


def test_constants_that_are_not_per_channel_stay(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Mul", ["c", "k"], ["y"]),
    ]
    constants = {"w": random_like((4, 3, 1, 1)), "k": random_like((4, 4))}
    model = make_model(nodes, {"x": (1, 3, 4, 4)}, ["y"], constants)
    assert operators(assert_same_answers(model, tmp_path)) == ["Conv", "Mul"]


def test_integers_stay(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "k"], ["a"]),
        helper.make_node("Div", ["a", "k"], ["y"]),
    ]
    x = np.arange(12, dtype=np.int64).reshape(3, 4)
    model = make_model(nodes, {"x": x}, ["y"], {"k": np.array(3, np.int64)})
    assert operators(assert_same_answers(model, tmp_path, {"x": x})) == ["Mul", "Div"]
