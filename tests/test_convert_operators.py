from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from jointdnn_tvm.network import Network, load_network
from tests.onnx_models import (
    Array,
    calls,
    feeds_of,
    make_model,
    random_like,
    run_network,
    run_onnx,
    save,
)


def network_of(model: onnx.ModelProto, folder: Path) -> Network:
    return load_network(save(model, folder))


def clip(low: Any, high: Any, opset: int = 18) -> onnx.ModelProto:
    bounds = {"low": low, "high": high}
    constants = {name: np.float32(v) for name, v in bounds.items() if v is not None}
    names = [name if name in constants else "" for name in bounds]
    node = helper.make_node("Clip", ["x", *names], ["y"])
    return make_model([node], {"x": (2, 3)}, ["y"], constants, opset)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 6, ["relax.clip"]),
        (0, None, ["relax.nn.relu"]),
        (0, np.inf, ["relax.nn.relu"]),
        (-1, None, ["relax.maximum"]),
        (None, 2, ["relax.minimum"]),
        (None, None, []),
        (np.nan, 2, ["relax.minimum"]),
    ],
)
def test_clip(low: Any, high: Any, expected: list[str], tmp_path: Path) -> None:
    assert calls(network_of(clip(low, high), tmp_path).module) == expected


def test_clip_by_attributes(tmp_path: Path) -> None:
    node = helper.make_node("Clip", ["x"], ["y"], min=0.0, max=6.0)
    model = make_model([node], {"x": (2, 3)}, ["y"], opset=10)
    assert calls(network_of(model, tmp_path).module) == ["relax.clip"]


SLICES: dict[str, tuple[list[int], ...]] = {
    "ends past the end": ([1], [1 << 62], [1], [2]),
    "from the back": ([-3], [-1], [0], [1]),
    "two axes": ([0, 1], [3, 2], [1, 0], [1, 1]),
    "backwards": ([-1], [-(1 << 62)], [1], [-2]),
}


@pytest.mark.parametrize("name", SLICES)
def test_slice(name: str, tmp_path: Path) -> None:
    keys = ("starts", "ends", "axes", "steps")
    constants = {k: np.array(v) for k, v in zip(keys, SLICES[name], strict=True)}
    node = helper.make_node("Slice", ["x", *constants], ["y"])
    model = make_model([node], {"x": (4, 7)}, ["y"], constants)
    check(model, tmp_path)


def check(model: onnx.ModelProto, folder: Path, feeds: dict[str, Array] | None = None) -> None:
    feeds = feeds_of(model) if feeds is None else feeds
    answers = run_network(network_of(model, folder), feeds)
    for answer, expected in zip(answers, run_onnx(model, feeds), strict=True):
        np.testing.assert_allclose(answer, expected, rtol=1e-5)


def test_bit_cast(tmp_path: Path) -> None:
    node = helper.make_node("BitCast", ["x"], ["y"], to=TensorProto.INT32)
    model = make_model([node], {"x": (2, 3)}, ["y"], opset=26)
    x = random_like((2, 3))
    (answer,) = run_network(network_of(model, tmp_path), {"x": x})
    np.testing.assert_array_equal(answer, x.view(np.int32))


@pytest.mark.parametrize("exclusive", [0, 1])
def test_cumulative_product(exclusive: int, tmp_path: Path) -> None:
    node = helper.make_node("CumProd", ["x", "axis"], ["y"], reverse=1, exclusive=exclusive)
    model = make_model([node], {"x": (2, 3)}, ["y"], {"axis": np.array(1)}, opset=26)
    x = random_like((2, 3))
    (answer,) = run_network(network_of(model, tmp_path), {"x": x})
    expected = np.cumprod(x[:, ::-1], axis=1)
    if exclusive:
        expected = np.concatenate([np.ones((2, 1), np.float32), expected[:, :-1]], axis=1)
    np.testing.assert_allclose(answer, expected[:, ::-1], rtol=1e-5)


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_shift_by_all_bits(direction: str, tmp_path: Path) -> None:
    x, places = np.array([255, 6, 1], np.uint8), np.array([1, 8, 200], np.uint8)
    node = helper.make_node("BitShift", ["x", "places"], ["y"], direction=direction)
    model = make_model([node], {"x": x, "places": places}, ["y"])
    (answer,) = run_network(network_of(model, tmp_path), {"x": x, "places": places})
    assert answer.tolist() == ([254, 0, 0] if direction == "LEFT" else [127, 0, 0])


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("known", [True, False])
def test_non_max_suppression(center: int, known: bool, tmp_path: Path) -> None:
    corners = [[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 0, 0.5, 1], [0, 9, 1, 10], [0, 9, 1, 9.5]]
    boxes = np.array([corners], np.float32)
    if center:
        low, high = np.split(boxes, 2, axis=2)
        boxes = np.concatenate([(low + high) / 2, high - low], axis=2)
    scores = np.array([[[0.9, 0.7, 0.6, 0.8, 0.1]]], np.float32)
    overlap, score = (np.array([value], np.float32) for value in (0.5, 0.2))
    settings: dict[str, Array] = {"most": np.array([4]), "overlap": overlap, "score": score}
    node = helper.make_node(
        "NonMaxSuppression", ["b", "s", *settings], ["y"], center_point_box=center
    )
    inputs: dict[str, Array] = {"b": boxes, "s": scores}
    for name in () if known else ("overlap", "score"):
        inputs[name] = settings.pop(name)
    model = make_model([node], inputs, ["y"], settings)
    check(model, tmp_path, inputs)
    assert run_onnx(model, inputs)[0][:, 2].tolist() == [0, 3, 2]  # an overlap of 0.5 is allowed
