"""How far two answers are apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.errors import ModelError, RunError
from jointdnn_tvm.verify import Difference, Reference, compare
from tests.tiny_models import Array

NAN, INF = math.nan, math.inf


def difference(found: Any, expected: Any, dtype: str = "float32") -> tuple[float, float]:
    found, expected = (np.array(a, dtype) for a in (found, expected))
    result = compare({"y": found}, {"y": expected})
    return result.max_abs_error, result.max_rel_error


@pytest.mark.parametrize(
    ("found", "expected", "absolute", "relative"),
    [
        ([1, 2], [1, 2], 0, 0),
        ([1, 2.5], [1, 2], 0.5, 0.25),
        ([1, -4], [1, 4], 8, 2),
        ([], [], 0, 0),
        ([[], []], [[], []], 0, 0),
        (3, 4, 1, 0.25),
        ([0, 0], [0, 0], 0, 0),
        ([0, 1e-9], [0, 0], 1e-9, INF),
        ([NAN, 1], [NAN, 1], 0, 0),
        ([NAN, 1], [NAN, 2], 1, 0.5),
        ([NAN, 1], [1, 1], INF, INF),
        ([1, 1], [NAN, 1], INF, INF),
        ([INF, 1], [INF, 1], 0, 0),
        ([INF, 1], [INF, 4], 3, 0.75),
        ([-INF, 1], [INF, 1], INF, INF),
        ([INF, 1], [1, 1], INF, INF),
        ([1, 1], [INF, 1], INF, INF),
        ([NAN], [NAN], 0, 0),
        ([INF], [INF], 0, 0),
        ([1], [NAN], INF, INF),
    ],
)
def test_difference(found: Any, expected: Any, absolute: float, relative: float) -> None:
    assert difference(found, expected) == pytest.approx((absolute, relative), rel=1e-6)


def test_numbers_at_the_edge_of_their_type() -> None:
    assert difference([1.7e308], [-1.7e308], "float64") == (INF, INF)
    assert difference([255], [0], "uint8") == (255, INF)
    assert difference([0], [255], "uint8") == (255, 1)
    assert difference([True, False], [True, True], "bool") == (1, 1)
    assert difference([127], [-128], "int8")[0] == 255
    assert difference([2**63 - 1], [-(2**63)], "int64")[1] == pytest.approx(2)
    assert difference([5e-324], [0], "float64") == (5e-324, INF)


def test_worst_of_all_outputs() -> None:
    expected = {"a": np.array([1.0, 10.0]), "b": np.array([100.0])}
    found = {"a": np.array([1.0, 10.1]), "b": np.array([101.0])}
    result = compare(found, expected)
    assert result.max_abs_error == pytest.approx(1.0)
    assert result.max_rel_error == pytest.approx(0.01)
    assert Difference(1, 2).worst(Difference(3, 0)) == Difference(3, 2)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({}, "the bundle gives , the model y; the bundle was made from another model"),
        ({"z": np.zeros(2)}, "the bundle gives z, the model y"),
        ({"y": np.zeros(2), "z": np.zeros(2)}, "the bundle gives y, z, the model y"),
        ({"y": np.zeros((1, 2))}, r"output 'y' is \[1, 2\] in the bundle and \[2\] in the model"),
        ({"y": np.zeros(())}, r"output 'y' is \[\] in the bundle"),
    ],
)
def test_answers_of_another_kind(found: dict[str, Array], why: str) -> None:
    with pytest.raises(RunError, match=why):
        compare(found, {"y": np.zeros(2)})


def test_reference_is_the_file_itself(branching_path: Path) -> None:
    reference = Reference(branching_path, threads=1)
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.standard_normal((1, 3, 8, 8), "float32"),
        "bias": rng.standard_normal((1, 10), "float32"),
    }
    answer = reference.run(inputs)
    assert list(answer) == ["scores", "best", "joined"]
    assert answer["scores"].sum() == pytest.approx(1, rel=1e-5)
    assert answer["best"] == answer["scores"].argmax()
    with pytest.raises(RunError, match="onnxruntime cannot run the model on these inputs"):
        reference.run({"image": inputs["image"]})


def test_reference_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("text.onnx", "nothing.onnx"):
        with pytest.raises(ModelError, match=f"onnxruntime cannot load .*{name}") as caught:
            Reference(tmp_path / name)
        assert "\n" not in str(caught.value)
