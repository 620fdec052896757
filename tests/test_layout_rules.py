from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from jointdnn_tvm.importer.onnx_graph import RULE_OPSET
from jointdnn_tvm.network import load_network
from tests.onnx_models import calls, make_model, random_like, save


def between_convolutions(
    nodes: list[onnx.NodeProto], folder: Path, opset: int = RULE_OPSET
) -> list[str]:
    """What `nodes` from "a" to "b" become between two convolutions of one pixel."""
    constants = {
        "w": random_like((4, 4, 1, 1)),
        "slopes": random_like((4, 1, 1)),
        "channels": random_like((1, 4, 1, 1)),
        "plane": random_like((6, 6)),
        "zero": np.array([0]),
        "four": np.array([4]),
        "one": np.array([1]),
        "three": np.array([3]),
        "around": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "swap": np.array([3, 1, 0, 2]),
        **{f"{name}{n}": random_like((n,)) for name in ("scale", "shift") for n in (2, 4)},
        "low": np.float32(-1),
        "high": np.float32(1),
    }
    first = helper.make_node("Conv", ["x", "w"], ["a"])
    last = helper.make_node("Conv", ["b", "w"], ["y"])
    model = make_model([first, *nodes, last], {"x": (1, 4, 6, 6)}, ["y"], constants, opset)
    module = load_network(save(model, folder)).module
    names = [name.removeprefix("relax.").removeprefix("nn.") for name in calls(module)]
    assert names[:2] == ["permute_dims", "conv2d"]
    assert names[-2:] == ["conv2d", "permute_dims"]
    return names[2:-2]


def one(op: str, *inputs: str, **options: Any) -> list[onnx.NodeProto]:
    return [helper.make_node(op, ["a", *inputs], ["b"], **options)]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (one("Relu"), ["relu"]),
        (one("Mul", "a"), ["multiply"]),
        (one("Mul", "plane"), ["multiply"]),
        (one("Clip", "low", "high"), ["clip"]),
        (one("PRelu", "slopes"), ["prelu"]),
        (one("Softmax", axis=1), ["softmax"]),
        (one("LogSoftmax", axis=1), ["log_softmax"]),
        (one("Max", "plane"), ["maximum"]),
        (one("Pad", "around"), ["pad"]),
        (one("Gather", "swap", axis=1), ["take"]),
        (one("MaxPool", kernel_shape=[2, 2]), ["max_pool2d"]),
    ],
)
def test_nothing_moves(nodes: list[onnx.NodeProto], expected: list[str], tmp_path: Path) -> None:
    assert between_convolutions(nodes, tmp_path) == expected


def test_mean_over_space(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["a"], ["m"]),
        helper.make_node("Mul", ["a", "m"], ["b"]),
    ]
    assert between_convolutions(nodes, tmp_path) == ["mean", "multiply"]


@pytest.mark.parametrize("op", ["InstanceNormalization", "GroupNormalization"])
def test_normalization(op: str, tmp_path: Path) -> None:
    options = {"num_groups": 2} if op == "GroupNormalization" else {}
    names = ["scale4", "shift4"]
    assert "permute_dims" not in between_convolutions(one(op, *names, **options), tmp_path, 21)


def test_types_change_in_place(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["a"], ["wide"], to=11),
        helper.make_node("Cast", ["wide"], ["b"], to=1),
    ]
    assert between_convolutions(nodes, tmp_path) == ["astype", "astype"]


def test_split_and_concat(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["a"], ["left", "right"], axis=1, num_outputs=2),
        helper.make_node("Concat", ["right", "left"], ["b"], axis=1),
    ]
    assert between_convolutions(nodes, tmp_path) == ["split", "concat"]


def test_slice(tmp_path: Path) -> None:
    nodes = one("Slice", "one", "three", "three")
    assert between_convolutions(nodes, tmp_path) == ["strided_slice"]


def test_reduction_without_the_axis(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMax", ["a", "one"], ["m"], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "one"], ["u"]),
        helper.make_node("Add", ["a", "u"], ["b"]),
    ]
    assert between_convolutions(nodes, tmp_path) == ["max", "reshape", "add"]


def test_operators_without_a_rule_get_what_they_know(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("CumSum", ["a", "axis"], ["b"]),
        helper.make_node("Constant", [], ["axis"], value_int=1),
    ]
    found = between_convolutions(nodes, tmp_path)
    assert found == ["permute_dims", "cumsum", "permute_dims"]
