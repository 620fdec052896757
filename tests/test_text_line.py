"""The demo's picture and alphabet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from jointdnn_tvm.demo import text_line
from jointdnn_tvm.errors import ModelError


def test_heading_is_cut_scaled_and_turned_to_bgr(tmp_path: Path) -> None:
    page = np.zeros((60, 320, 3), np.uint8)
    page[..., 0] = 255  # red
    Image.fromarray(page).save(tmp_path / "page.png")
    heading = text_line.read_heading(tmp_path / "page.png")
    assert heading.shape == text_line.SHAPE
    assert heading.dtype == np.float32
    assert heading.flags.c_contiguous
    np.testing.assert_allclose(heading[0, :, 20, 100], [-1, -1, 1])  # blue, green, red


def test_text_drops_blanks_and_repetitions(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [value])
    model = helper.make_model(graph)
    helper.set_model_props(model, {"character": "a\nb"})
    onnx.save(model, tmp_path / "model.onnx")
    classes = [1, 1, 0, 1, 2, 3, 2]  # a a blank a b space b
    scores = np.eye(4, dtype=np.float32)[classes][None]
    assert text_line.read_text(tmp_path / "model.onnx", scores) == "aab b"


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_line, "files", lambda package: [])
    with pytest.raises(ModelError, match="rapidocr-onnxruntime, which is not installed"):
        text_line.find_model()
