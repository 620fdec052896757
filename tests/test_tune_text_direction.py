"""The example: a trained network learns what it could not do."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.networks import trained_network

FILE = Path(__file__).parents[1] / "examples/tune_text_direction.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lines(example: ModuleType) -> None:
    images, labels = example.render_lines(20, np.random.default_rng(0))
    assert (images.shape, images.dtype) == ((20, 3, 48, 192), np.float32)
    assert np.abs(images).max() <= 1
    assert {*labels.tolist()} == {0, 1}
    again, _ = example.render_lines(20, np.random.default_rng(0))
    np.testing.assert_array_equal(images, again)


@pytest.mark.slow
def test_learns(example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained_network("ppocr_cls").name == example.MODEL
    assert example.main(tmp_path) == 0
    found = re.search(r"accuracy: (\S+) before, (\S+) after", capsys.readouterr().out)
    assert found is not None
    before, after = map(float, found.groups())
    assert before < 0.7 < 0.9 < after
