from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.onnx_models import (
    assert_same_answers,
    feeds_of,
    make_model,
    operators,
    random_like,
    run_onnx,
    simplified,
    to_model,
)


def test_function_of_the_specification(tmp_path: Path) -> None:
    node = helper.make_node("Celu", ["x"], ["y"], alpha=2.0)
    graph = assert_same_answers(make_model([node], {"x": (2, 3)}, ["y"]), tmp_path)
    assert "Celu" not in operators(graph)


def test_function_that_depends_on_types(tmp_path: Path) -> None:
    node = helper.make_node("SoftmaxCrossEntropyLoss", ["x", "t"], ["y"], reduction="mean")
    targets = np.array([1, 0, 2], np.int64)
    model = make_model([node], {"x": (3, 4), "t": targets}, ["y"])
    feeds = {"x": random_like((3, 4)), "t": targets}
    graph = assert_same_answers(model, tmp_path, feeds)
    assert "SoftmaxCrossEntropyLoss" not in operators(graph)


def test_optional_outputs_come_from_the_body(tmp_path: Path) -> None:
    node = helper.make_node("LayerNormalization", ["x", "s"], ["y", "mean", "inverse"])
    model = make_model([node], {"x": (2, 3, 4)}, ["y", "mean", "inverse"], {"s": random_like((4,))})
    graph = assert_same_answers(model, tmp_path)
    assert "LayerNormalization" not in operators(graph)


def test_operators_with_a_converter_stay(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("HardSwish", ["x"], ["a"]),
        helper.make_node("LayerNormalization", ["a", "s"], ["y"]),
    ]
    model = make_model(nodes, {"x": (2, 3, 4)}, ["y"], {"s": random_like((4,))})
    assert operators(simplified(model, tmp_path)) == ["HardSwish", "LayerNormalization"]


@pytest.mark.parametrize("given", [True, False])
def test_function_of_the_model(given: bool, tmp_path: Path) -> None:
    """Local functions, one within another, with an attribute that has a default."""
    inner = helper.make_function(
        "own",
        "Scaled",
        ["a"],
        ["b"],
        [
            helper.make_node("Constant", [], ["k"]),
            helper.make_node("Mul", ["a", "k"], ["b"]),
        ],
        [helper.make_opsetid("", 18)],
        attribute_protos=[helper.make_attribute("factor", 2.0)],
    )
    reference = inner.node[0].attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "value_float", "factor", 1
    options: dict[str, Any] = {"factor": 3.0} if given else {}
    outer = helper.make_function(
        "own",
        "Twice",
        ["a"],
        ["c"],
        [
            helper.make_node("Scaled", ["a"], ["b"], domain="own", **options),
            helper.make_node("Add", ["b", "a"], ["c"]),
        ],
        [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)],
    )
    nodes = [
        helper.make_node("Twice", ["x"], ["h"], domain="own"),
        helper.make_node("Twice", ["h"], ["y"], domain="own"),
    ]
    model = make_model(nodes, {"x": (2, 3)}, ["y"], functions=[inner, outer], domains=["own"])
    graph = assert_same_answers(model, tmp_path)
    assert operators(graph) == ["Mul", "Add"] * 2
    (answer,) = run_onnx(model, feeds_of(model))
    factor = 4 if given else 3
    np.testing.assert_allclose(answer, feeds_of(model)["x"] * factor**2, rtol=1e-5)


def test_attention_to_nothing(tmp_path: Path) -> None:
    """A query whose mask rules all keys out gives zeros, as the operator is specified."""
    node = helper.make_node("Attention", ["q", "k", "v", "mask"], ["y"])
    mask = np.array([[True, False, True], [False, False, False]])
    shapes = {"q": (1, 1, 2, 4), "k": (1, 1, 3, 4), "v": (1, 1, 3, 4)}
    model = make_model([node], {**shapes, "mask": mask}, ["y"], opset=23)
    feeds = {name: random_like(shape) for name, shape in shapes.items()} | {"mask": mask}
    graph = simplified(model, tmp_path)
    assert "Attention" not in operators(graph)
    (answer,) = run_onnx(to_model(graph), feeds)
    weights = np.exp(feeds["q"] @ feeds["k"].swapaxes(2, 3) / 2)[0, 0, 0] * mask[0]
    expected = weights / weights.sum() @ feeds["v"][0, 0]
    np.testing.assert_allclose(answer[0, 0, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(answer[0, 0, 1], np.zeros(4))
