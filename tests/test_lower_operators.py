from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from jointdnn_tvm.network import load_network
from tests.onnx_models import (
    Array,
    assert_same_answers,
    make_model,
    operators,
    random_like,
    run_network,
    save,
)


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [(1, []), (2, ["Mul"]), (3, ["Mul", "Mul"]), (0.5, ["Sqrt"]), (1.5, ["Pow"])],
)
def test_power(exponent: float, expected: list[str], tmp_path: Path) -> None:
    node = helper.make_node("Pow", ["x", "e"], ["y"])
    model = make_model([node], {"x": (2, 3)}, ["y"], {"e": np.float32(exponent)})
    feeds = {"x": np.abs(random_like((2, 3)))}
    assert operators(assert_same_answers(model, tmp_path, feeds)) == expected


def test_power_of_mixed_types(tmp_path: Path) -> None:
    node = helper.make_node("Pow", ["x", "e"], ["y"])
    x, e = np.array([1, 2, 3], np.int32), np.array([0, 1, 3], np.int64)
    model = make_model([node], {"x": x, "e": e}, ["y"])
    assert_same_answers(model, tmp_path, {"x": x, "e": e})


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis: int, tmp_path: Path) -> None:
    indices = np.array([[0, 3, -1], [7, 1, 2]], np.int64)
    constants = {"depth": np.array(4), "values": np.array([2, 5], np.float32)}
    node = helper.make_node("OneHot", ["i", *constants], ["y"], axis=axis)
    model = make_model([node], {"i": indices}, ["y"], constants)
    assert_same_answers(model, tmp_path, {"i": indices})


@pytest.mark.parametrize(("positive", "negative"), [(1, 0), (0, 1), (1, 1), (0, 0)])
def test_is_inf(positive: int, negative: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"detect_positive": positive, "detect_negative": negative}
    node = helper.make_node("IsInf", ["x"], ["y"], **options)
    x = np.array([1, np.inf, -np.inf, np.nan], np.float32)
    assert_same_answers(make_model([node], {"x": x}, ["y"]), tmp_path, {"x": x})


@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalization(p: int, tmp_path: Path) -> None:
    node = helper.make_node("LpNormalization", ["x"], ["y"], p=p, axis=1)
    x = random_like((2, 3))
    x[0] = 0
    assert_same_answers(make_model([node], {"x": x}, ["y"]), tmp_path, {"x": x})


@pytest.mark.parametrize("batch_axis", [0, 1])
def test_reverse_sequence(batch_axis: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"batch_axis": batch_axis, "time_axis": 1 - batch_axis}
    node = helper.make_node("ReverseSequence", ["x", "lengths"], ["y"], **options)
    constants = {"lengths": np.array([1, 3, 2], np.int64)}
    shape = (3, 4, 2) if batch_axis == 0 else (4, 3, 2)
    assert_same_answers(make_model([node], {"x": shape}, ["y"], constants), tmp_path)


def test_space_to_depth(tmp_path: Path) -> None:
    node = helper.make_node("SpaceToDepth", ["x"], ["y"], blocksize=2)
    assert_same_answers(make_model([node], {"x": (2, 3, 4, 6)}, ["y"]), tmp_path)


def test_mask_of_dropout(tmp_path: Path) -> None:
    node = helper.make_node("Dropout", ["x"], ["y", "mask"])
    graph = assert_same_answers(make_model([node], {"x": (2, 3)}, ["y", "mask"]), tmp_path)
    assert not graph.nodes


def lowered(node: Any, feeds: dict[str, Array], tmp_path: Path) -> list[str]:
    model = make_model([node], feeds, list(node.output), opset=20)
    from tests.onnx_models import simplified

    return operators(simplified(model, tmp_path))


def test_extremes_of_booleans(tmp_path: Path) -> None:
    node = helper.make_node("ReduceMax", ["x"], ["y"])
    assert lowered(node, {"x": np.array([[True, False]])}, tmp_path) == [
        "Cast",
        "ReduceMax",
        "Cast",
    ]


def test_cast_like(tmp_path: Path) -> None:
    node = helper.make_node("CastLike", ["x", "like"], ["y"])
    feeds = {"x": random_like((2, 3)), "like": np.zeros(1, np.int32)}
    model = make_model([node], feeds, ["y"])
    assert operators(assert_same_answers(model, tmp_path, feeds)) == ["Cast"]


def test_modulo_of_floats(tmp_path: Path) -> None:
    """As in NumPy, with infinities; onnxruntime refuses it."""
    x, y = (
        np.array(values, np.float32)
        for values in (
            [-3, 3, -1, 1, np.inf, 1, 1, np.nan, 5.5, -5.5],
            [np.inf, -np.inf, 2, -2, 1, 0, np.nan, 1, -2, 2],
        )
    )
    node = helper.make_node("Mod", ["x", "y"], ["z"])
    model = make_model([node], {"x": x, "y": y}, ["z"], opset=26)
    (answer,) = run_network(load_network(save(model, tmp_path)), {"x": x, "y": y})
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(answer, np.mod(x, y))
