"""`jointdnn run`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm.cli import main
from jointdnn_tvm.cli.tensors import random_inputs
from jointdnn_tvm.verify import Reference
from tests.deployment import device_server, eventually, session_folders

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


def test_cloud_killed_in_the_middle(new_bundle: Save, branching_path: Path, tmp_path: Path) -> None:
    """The answer comes all the same, and the command says what happened."""
    reference = Reference(branching_path, threads=1)
    with device_server(tmp_path / "device", "--key", "cloud") as (server, address):
        words = ["run", str(new_bundle()), "--cloud", str(address), "--repeat", "2000", "--json"]
        running = subprocess.Popen(
            [sys.executable, "-m", "jointdnn_tvm.cli", *words, "--output", str(tmp_path / "out")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert eventually(lambda: session_folders(tmp_path / "device"), within_s=60)
        time.sleep(1)
        assert running.poll() is None
        os.killpg(server.pid, signal.SIGKILL)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    result = json.loads(out)
    assert result["runs"] == 2000
    assert f"the connection to device {address}" in result["cloud_error"]
    assert "going on alone" in err
    assert err.count("\n") == 1
    signature = {"image": (1, 3, 8, 8), "bias": (1, 10)}
    inputs = random_inputs([(n, shape, "float32") for n, shape in signature.items()], seed=0)
    for name, array in reference.run(inputs).items():
        np.testing.assert_allclose(np.load(tmp_path / "out" / f"{name}.npy"), array, rtol=1e-4)
