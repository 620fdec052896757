from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.onnx_models import assert_same_answers, make_model, operators, simplified


def resize(shape: tuple[int, ...], scales: Any = None, sizes: Any = None, **options: Any) -> Any:
    constants = {}
    if scales is not None:
        constants["scales"] = np.array(scales, np.float32)
    if sizes is not None:
        constants["sizes"] = np.array(sizes, np.int64)
    names = ["x", "", "scales"] if scales is not None else ["x", "", "", "sizes"]
    node = helper.make_node("Resize", names, ["y"], **options)
    return make_model([node], {"x": shape}, ["y"], constants)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("transform", ["half_pixel", "asymmetric"])
def test_scales_that_are_rounded(mode: str, transform: str, tmp_path: Path) -> None:
    options = {"mode": mode, "coordinate_transformation_mode": transform}
    model = resize((1, 2, 5, 7), scales=(1, 1, 1.7, 0.6), **options)
    graph = assert_same_answers(model, tmp_path, tolerance=1e-4)
    assert "Resize" not in operators(graph)


def test_aligned_corners_depend_on_sizes_only(tmp_path: Path) -> None:
    options = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    model = resize((1, 2, 5, 7), scales=(1, 1, 1.7, 0.6), **options)
    assert operators(assert_same_answers(model, tmp_path)) == ["Resize"]


def test_antialias(tmp_path: Path) -> None:
    model = resize((1, 2, 9, 7), sizes=(1, 2, 4, 5), mode="linear", antialias=1)
    assert "Resize" not in operators(assert_same_answers(model, tmp_path, tolerance=1e-4))


def test_axes(tmp_path: Path) -> None:
    model = resize((2, 3, 4, 5), sizes=(6, 4), axes=[2, 3], mode="nearest")
    assert operators(assert_same_answers(model, tmp_path)) == ["Gather", "Gather"]


def test_other_axes_than_space(tmp_path: Path) -> None:
    model = resize((1, 3, 4, 5), sizes=(1, 6, 4, 5), mode="linear")
    assert "Resize" not in operators(assert_same_answers(model, tmp_path, tolerance=1e-4))


def test_whole_factors_stay_one_operator(tmp_path: Path) -> None:
    model = resize((1, 2, 5, 7), scales=(1, 1, 2, 3), mode="linear")
    assert operators(simplified(model, tmp_path)) == ["Resize"]


def test_upsample(tmp_path: Path) -> None:
    node = helper.make_node("Upsample", ["x", "scales"], ["y"], mode="nearest")
    scales = {"scales": np.array([1, 1, 2, 4], np.float32)}
    model = make_model([node], {"x": (1, 2, 3, 3)}, ["y"], scales, opset=9)
    graph = simplified(model, tmp_path)
    assert operators(graph) == ["Resize"]
    assert graph.nodes[0].attribute("mode") == "nearest"
