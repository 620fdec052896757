from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from jointdnn_tvm.errors import ModelError
from tests.onnx_models import assert_same_answers, make_model, operators, random_like, simplified


def body(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, Sequence[int]]],
    outputs: dict[str, tuple[int, Sequence[int]]],
) -> onnx.GraphProto:
    into, out = (
        [helper.make_tensor_value_info(name, *kind) for name, kind in part.items()]
        for part in (inputs, outputs)
    )
    return helper.make_graph(nodes, "body", into, out)


FLOAT = TensorProto.FLOAT


def branches() -> dict[str, Any]:
    return {
        "then_branch": body([helper.make_node("Relu", ["x"], ["t"])], {}, {"t": (FLOAT, [2, 3])}),
        "else_branch": body([helper.make_node("Neg", ["x"], ["e"])], {}, {"e": (FLOAT, [2, 3])}),
    }


@pytest.mark.parametrize(("condition", "op"), [(True, "Relu"), (False, "Neg")])
def test_known_condition(condition: bool, op: str, tmp_path: Path) -> None:
    node = helper.make_node("If", ["c"], ["y"], **branches())
    model = make_model([node], {"x": (2, 3)}, ["y"], {"c": np.array(condition)})
    assert operators(assert_same_answers(model, tmp_path)) == [op]


@pytest.mark.parametrize("sign", [-1, 1])
def test_condition_on_the_data_picks_one_of_both(sign: int, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], **branches()),
    ]
    model = make_model(nodes, {"x": (2, 3)}, ["y"], {"zero": np.float32(0)})
    feeds = {"x": sign * np.abs(random_like((2, 3)))}
    assert operators(assert_same_answers(model, tmp_path, feeds))[-1] == "Where"


def loop(count: int, steps: Sequence[onnx.NodeProto]) -> onnx.ModelProto:
    inner = body(
        steps,
        {"i": (TensorProto.INT64, []), "go": (TensorProto.BOOL, []), "v": (FLOAT, [2, 3])},
        {"on": (TensorProto.BOOL, []), "w": (FLOAT, [2, 3]), "row": (FLOAT, [2, 3])},
    )
    node = helper.make_node("Loop", ["n", "", "x"], ["last", "rows"], body=inner)
    constants = {"n": np.array(count, np.int64), "k": random_like((3,))}
    return make_model([node], {"x": (2, 3)}, ["last", "rows"], constants)


STEPS = [
    helper.make_node("Identity", ["go"], ["on"]),
    helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
    helper.make_node("Add", ["v", "f"], ["s"]),
    helper.make_node("Mul", ["s", "k"], ["w"]),
    helper.make_node("Relu", ["w"], ["row"]),
]


def test_loop(tmp_path: Path) -> None:
    graph = assert_same_answers(loop(3, STEPS), tmp_path)
    assert operators(graph).count("Relu") == 3
    assert "Loop" not in operators(graph)


def test_loop_that_may_stop_stays(tmp_path: Path) -> None:
    steps = [
        helper.make_node("ReduceSum", ["v"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["on"], to=TensorProto.BOOL),
        helper.make_node("Relu", ["v"], ["w"]),
        helper.make_node("Relu", ["w"], ["row"]),
    ]
    assert operators(simplified(loop(3, steps), tmp_path)) == ["Loop"]


def test_endless_loop(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="takes 1000000 steps, more than the 512"):
        simplified(loop(1_000_000, STEPS), tmp_path)


def test_scan(tmp_path: Path) -> None:
    inner = body(
        [
            helper.make_node("Add", ["state", "row"], ["next"]),
            helper.make_node("Identity", ["next"], ["sum"]),
        ],
        {"state": (FLOAT, [3]), "row": (FLOAT, [3])},
        {"next": (FLOAT, [3]), "sum": (FLOAT, [3])},
    )
    node = helper.make_node("Scan", ["s", "x"], ["last", "sums"], body=inner, num_scan_inputs=1)
    model = make_model([node], {"s": (3,), "x": (4, 3)}, ["last", "sums"])
    graph = assert_same_answers(model, tmp_path)
    assert operators(graph).count("Add") == 4


def test_loop_within_a_branch(tmp_path: Path) -> None:
    inner = loop(2, STEPS).graph.node[0]
    then = body([inner, helper.make_node("Relu", ["last"], ["t"])], {}, {"t": (FLOAT, [2, 3])})
    other = body([helper.make_node("Neg", ["x"], ["e"])], {}, {"e": (FLOAT, [2, 3])})
    node = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    constants = {
        "c": np.array(True),
        "n": np.array(2, np.int64),
        "k": random_like((3,)),
    }
    model = make_model([node], {"x": (2, 3)}, ["y"], constants)
    assert "Loop" not in operators(assert_same_answers(model, tmp_path))
