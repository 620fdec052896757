from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from jointdnn_tvm.errors import ModelError
from tests.onnx_models import assert_same_answers, make_model, operators, random_like, simplified


def test_nothing_huge_is_computed(tmp_path: Path) -> None:
    node = helper.make_node("ConstantOfShape", ["s"], ["y"])
    model = make_model([node], {}, ["y"], {"s": np.array([1 << 22, 1 << 22])})
    with pytest.raises(ModelError, match=r"would take 7\.04e\+04 GB, more than the 16 GiB"):
        simplified(model, tmp_path)


def test_nothing_huge_at_run_time(tmp_path: Path) -> None:
    node = helper.make_node("Expand", ["x", "s"], ["y"])
    model = make_model([node], {"x": (1,)}, ["y"], {"s": np.array([1 << 40])})
    with pytest.raises(ModelError, match="tensor 'y' of shape"):
        simplified(model, tmp_path)


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "k"], ["y"], name="product")
    model = make_model([node], {"x": (2, 3)}, ["y"], {"k": random_like((4, 5))})
    with pytest.raises(ModelError, match=r"node 'product' \(MatMul\) does not fit its inputs"):
        simplified(model, tmp_path)


def test_text_within(tmp_path: Path) -> None:
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)
    with pytest.raises(ModelError, match="value 'y' holds text"):
        simplified(make_model([node], {"x": (2,)}, ["y"]), tmp_path)


def test_constant_that_cannot_be_evaluated(tmp_path: Path) -> None:
    node = helper.make_node("Gather", ["k", "i"], ["y"])
    constants = {"k": random_like((3,)), "i": np.array([7])}
    with pytest.raises(ModelError, match="is constant but cannot be evaluated"):
        simplified(make_model([node], {"x": (2,)}, ["y"], constants), tmp_path)


def test_random_numbers_are_not_constants(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("RandomUniform", [], ["r"], shape=[3]),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    graph = simplified(make_model(nodes, {"x": (3,)}, ["y"]), tmp_path)
    assert operators(graph) == ["RandomUniform", "Add"]


def test_tensors_without_elements_are_constants(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Slice", ["x", "zero", "zero", "axis"], ["empty"]),
        helper.make_node("ReduceSum", ["empty"], ["sum"]),
        helper.make_node("Concat", ["x", "empty"], ["y"], axis=1),
    ]
    constants = {"zero": np.array([0]), "axis": np.array([1])}
    model = make_model(nodes, {"x": (2, 3)}, ["sum", "y"], constants)
    assert operators(assert_same_answers(model, tmp_path)) == ["Concat"]


def test_shapes_computed_from_shapes(tmp_path: Path) -> None:
    """What exporters write for a flatten: none of it is left."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["u"]),
        helper.make_node("Concat", ["u", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1])}
    model = make_model(nodes, {"x": (2, 3, 4)}, ["y"], constants)
    graph = assert_same_answers(model, tmp_path)
    assert operators(graph) == ["Reshape"]
    assert graph.shape("y") == (2, 12)
