"""`jointdnn verify`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jointdnn_tvm.cli import main
from jointdnn_tvm.runtime.manifest import read_manifest
from tests.tiny_models import branching_model

Save = Callable[[], Path]


def test_bundle_of_this_model(
    new_bundle: Save, branching_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = new_bundle()
    words = ["verify", str(folder), str(branching_path), "--samples", "4"]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert 0 < result["max_rel_error"] < 1e-5
    assert 0 < result["max_abs_error"] < 1e-5
    assert (result["samples"], result["stages"]) == (4, len(read_manifest(folder).stages))
    assert main(words) == 0
    assert "over 4 samples" in capsys.readouterr().out


def test_bundle_of_another_model(
    new_bundle: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = branching_model(tmp_path, seed=1)
    assert main(["verify", str(new_bundle()), str(other)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "differs from onnxruntime's by" in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--samples", "0"], "--samples 0 is not 1 or more"),
        (["--tolerance", "1e-12"], "over the tolerance 1e-12"),
        (["--tolerance", "nan"], "over the tolerance nan"),
    ],
)
def test_failure_is_one_line(
    new_bundle: Save,
    branching_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    why: str,
) -> None:
    assert main(["verify", str(new_bundle()), str(branching_path), *words]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert why in captured.err
