from __future__ import annotations

from pathlib import Path

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


def test_broadcasting_by_axis(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "k"], ["y"], broadcast=1, axis=1)
    model = make_model([node], {"x": (2, 3, 4, 5), "k": (3,)}, ["y"], opset=6)
    feeds = feeds_of(model)
    (answer,) = run_onnx(to_model(simplified(model, tmp_path)), feeds)
    np.testing.assert_allclose(answer, feeds["x"] + feeds["k"].reshape(3, 1, 1), rtol=1e-6)


def test_broadcasting_at_the_end(tmp_path: Path) -> None:
    node = helper.make_node("Mul", ["x", "k"], ["y"], broadcast=1)
    model = make_model([node], {"x": (2, 3, 4), "k": (3, 4)}, ["y"], opset=6)
    feeds = feeds_of(model)
    (answer,) = run_onnx(to_model(simplified(model, tmp_path)), feeds)
    np.testing.assert_allclose(answer, feeds["x"] * feeds["k"], rtol=1e-6)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_softmax_over_flattened_axes(op: str, axis: int, tmp_path: Path) -> None:
    node = helper.make_node(op, ["x"], ["y"], axis=axis)
    model = make_model([node], {"x": (2, 3, 4)}, ["y"], opset=11)
    assert_same_answers(model, tmp_path)


@pytest.mark.parametrize(("shape", "axis"), [((2, 3), 1), ((2, 3, 1, 1), 1), ((1, 3, 4), 2)])
def test_softmax_over_one_axis_needs_no_reshape(
    shape: tuple[int, ...], axis: int, tmp_path: Path
) -> None:
    node = helper.make_node("Softmax", ["x"], ["y"], axis=axis)
    graph = assert_same_answers(make_model([node], {"x": shape}, ["y"], opset=11), tmp_path)
    assert operators(graph) == ["Softmax"]


def test_slopes_of_channels(tmp_path: Path) -> None:
    node = helper.make_node("PRelu", ["x", "s"], ["y"])
    model = make_model([node], {"x": (2, 3, 4, 5)}, ["y"], {"s": random_like((3,))}, opset=6)
    graph = simplified(model, tmp_path)
    assert graph.constants[graph.nodes[-1].input(1)].shape == (3, 1, 1)
