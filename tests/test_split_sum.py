from __future__ import annotations

from pathlib import Path

import pytest
from onnx import helper

from tests.onnx_models import assert_same_answers, make_model, operators


@pytest.mark.parametrize(("op", "binary"), [("Sum", "Add"), ("Max", "Max"), ("Min", "Min")])
def test_chain_of_binary_operators(op: str, binary: str, tmp_path: Path) -> None:
    node = helper.make_node(op, ["a", "b", "c", "d"], ["y"])
    shapes = {"a": (2, 3), "b": (3,), "c": (2, 1), "d": ()}
    graph = assert_same_answers(make_model([node], shapes, ["y"]), tmp_path)
    assert operators(graph) == [binary] * 3


def test_mean(tmp_path: Path) -> None:
    node = helper.make_node("Mean", ["a", "b", "c"], ["y"])
    shapes = {"a": (2, 3), "b": (3,), "c": (2, 1)}
    graph = assert_same_answers(make_model([node], shapes, ["y"]), tmp_path)
    assert operators(graph) == ["Add", "Add", "Mul"]


def test_operands_may_be_alike(tmp_path: Path) -> None:
    node = helper.make_node("Sum", ["a", "a", "a"], ["y"])
    assert_same_answers(make_model([node], {"a": (2, 3)}, ["y"]), tmp_path)
