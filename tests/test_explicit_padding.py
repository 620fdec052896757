from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from tests.onnx_models import assert_same_answers, make_model, operators, random_like


@settings(max_examples=40, deadline=None)
@given(
    op=st.sampled_from(["Conv", "MaxPool", "AveragePool"]),
    mode=st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_same_as_onnxruntime(
    tmp_path_factory: pytest.TempPathFactory,
    op: str,
    mode: str,
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
) -> None:
    # onnxruntime fails on pools whose windows leave gaps
    assume(op == "Conv" or all(k >= s for k, s in zip(kernel, strides, strict=True)))
    options: dict[str, Any] = {"auto_pad": mode, "strides": strides, "kernel_shape": kernel}
    constants = {"w": random_like((3, 2, *kernel))} if op == "Conv" else {}
    node = helper.make_node(op, ["x", *constants], ["y"], **options)
    model = make_model([node], {"x": (1, 2, *size)}, ["y"], constants)
    graph = assert_same_answers(model, tmp_path_factory.mktemp("model"))
    assert graph.nodes[0].attribute("auto_pad") is None
    assert len(graph.nodes[0].attribute("pads")) == 4


def test_given_padding_stays(tmp_path: Path) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[0, 1, 1, 0])
    model = make_model([node], {"x": (1, 2, 5, 5)}, ["y"])
    graph = assert_same_answers(model, tmp_path)
    assert operators(graph) == ["MaxPool"]
    assert graph.nodes[0].attribute("pads") == [0, 1, 1, 0]
