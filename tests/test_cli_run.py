"""`jointdnn run`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm.cli import main
from jointdnn_tvm.verify import Reference

Save = Callable[[], Path]


def test_result_as_json(new_bundle: Save, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(new_bundle()), "--cloud", "local", "--repeat", "3", "--json"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["outputs"] == {"scores": [1, 5], "best": [1], "joined": [1, 10, 4, 4]}
    assert list(result["latency_s"]) == ["min", "p50", "p90", "p99"]
    assert 0 < result["latency_s"]["min"] <= result["latency_s"]["p99"] < 10
    assert (result["runs"], result["cloud_error"]) == (3, None)


def test_inputs_and_outputs_are_files(
    new_bundle: Save, branching_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.standard_normal((1, 3, 8, 8), "float32"),
        "bias": rng.standard_normal((1, 10), "float32"),
    }
    words = ["run", str(new_bundle()), "--cloud", "local", "--output", str(tmp_path / "out")]
    for name, array in inputs.items():
        np.save(tmp_path / f"{name}.npy", array)
        words += ["--input", f"{name}={tmp_path / name}.npy"]
    assert main(words) == 0
    assert "scores: [1, 5] in " in capsys.readouterr().out
    for name, array in Reference(branching_path, threads=1).run(inputs).items():
        np.testing.assert_allclose(np.load(tmp_path / "out" / f"{name}.npy"), array, rtol=1e-4)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--repeat", "0", "--cloud", "local"], "--repeat 0 is not 1 or more"),
        (["--input", "x=y.npy", "--cloud", "local"], "has no input 'x'"),
        (["--input", "bias=/nowhere.npy", "--cloud", "local"], "/nowhere.npy is no .npy file"),
        ([], "has cloud stages; say where they run"),
    ],
)
def test_failure_is_one_line(
    new_bundle: Save, capsys: pytest.CaptureFixture[str], words: list[str], why: str
) -> None:
    assert main(["run", str(new_bundle()), *words]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("jointdnn: error: ")
    assert why in captured.err
    assert captured.err.count("\n") == 1


def test_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path)]) == 1
    assert "is no bundle" in capsys.readouterr().err
