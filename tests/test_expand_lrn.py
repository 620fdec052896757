from __future__ import annotations

from pathlib import Path

import pytest
from onnx import helper

from tests.onnx_models import assert_same_answers, make_model, operators, simplified


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_same_as_onnxruntime(size: int, beta: float, tmp_path: Path) -> None:
    node = helper.make_node("LRN", ["x"], ["y"], size=size, alpha=0.3, beta=beta, bias=1.5)
    model = make_model([node], {"x": (2, 7, 3, 4)}, ["y"])
    graph = assert_same_answers(model, tmp_path)
    assert "LRN" not in operators(graph)


def test_other_ranks_are_left_alone(tmp_path: Path) -> None:
    node = helper.make_node("LRN", ["x"], ["y"], size=3)
    model = make_model([node], {"x": (2, 7, 3)}, ["y"])
    assert operators(simplified(model, tmp_path)) == ["LRN"]
