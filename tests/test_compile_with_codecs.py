"""`jointdnn compile --codecs`, from inputs to answers over a device server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.codec.registry import CODECS
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.runtime.session import open_session
from jointdnn_tvm.verify import Reference, compare
from tests.command import Command
from tests.tiny_models import Array


def inputs(count: int, seed: int = 0) -> dict[str, Array]:
    """Pictures of few bits, so that codecs have something to find."""
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 9, (count, 1, 3, 8, 8)).astype(np.float32) / 4 - 1,
        "bias": rng.standard_normal((count, 1, 10), "float32"),
    }


@pytest.fixture
def compile_words(
    branching_path: Path, tmp_path_factory: pytest.TempPathFactory, lab: LoopbackLab
) -> list[object]:
    """All on the cloud, over a link so slow that every byte counts."""
    costs = tmp_path_factory.getbasetemp() / "codec-costs"
    words = ["--placement", "cloud-only", "--link", "up=1e4,down=1e4,rtt=0.01"]
    return [branching_path, *words, "--tracker", lab.tracker, "--costs", costs]


def calibration(folder: Path, given: dict[str, Array]) -> Path:
    path = folder / "in.npz"
    np.savez(path, allow_pickle=False, **given)
    return path


def compiled(jointdnn: Command, folder: Path, *words: object) -> dict[str, Any]:
    ended = jointdnn("compile", *words, "-o", folder / "model.jd", "--json")
    assert ended.code == 0, ended
    plan: dict[str, Any] = json.loads(ended.out)["plan"]
    return plan


def difference(folder: Path, lab: LoopbackLab, model: Path) -> float:
    """Of the bundle's answers, over the device server, to inputs that nobody has seen."""
    reference = Reference(model)
    worst = 0.0
    with open_session(folder / "model.jd", tracker=str(lab.tracker)) as session:
        for image, bias in zip(*inputs(5, seed=9).values(), strict=True):
            sample = {"image": image, "bias": bias}
            answer, expected = session.run(sample), reference.run(sample)
            floats = [{n: a[n] for n in ("scores", "joined")} for a in (answer, expected)]
            worst = max(worst, compare(*floats).max_rel_error)
        assert session.cloud_error is None
    return worst


def test_kinds_of_codecs(
    compile_words: list[object],
    jointdnn: Command,
    lab: LoopbackLab,
    branching_path: Path,
    tmp_path: Path,
) -> None:
    real = ["--calibrate", calibration(tmp_path, inputs(12))]
    none = compiled(jointdnn, tmp_path, *compile_words, "--codecs", "none")
    assert set(none["codecs"].values()) == {"none"}
    assert none["sources"]["codecs"] == "none"

    lossless = compiled(jointdnn, tmp_path, *compile_words, *real)
    assert all(CODECS[codec].exact for codec in lossless["codecs"].values())
    assert "pixels" in lossless["codecs"].values()
    assert lossless["latency_s"] < none["latency_s"]
    assert lossless["error"] == 0
    assert difference(tmp_path, lab, branching_path) < 1e-5

    words = [*compile_words, *real, "--codecs", "lossy", "--max-error", 0.1]
    lossy = compiled(jointdnn, tmp_path, *words)
    assert not all(CODECS[codec].exact for codec in lossy["codecs"].values())
    assert lossy["latency_s"] < lossless["latency_s"]
    agreement = lossy["agreement"]
    assert 1e-4 < agreement["error"] <= 0.1
    assert (agreement["samples"], agreement["answers"] > 1) == (6, True)
    assert 1e-4 < difference(tmp_path, lab, branching_path) < 0.2

    text = jointdnn("compile", *words, "-o", tmp_path / "model.jd").out
    assert "on 6 samples held out: largest change" in text
    assert "codecs: lossy, sizes measured:12 samples of in.npz" in text


def test_samples_of_one_class(
    compile_words: list[object], jointdnn: Command, tmp_path: Path
) -> None:
    same = {name: np.repeat(array, 12, axis=0) for name, array in inputs(1).items()}
    words = ["--calibrate", calibration(tmp_path, same), "--codecs", "lossy", "--max-error", 0.1]
    ended = jointdnn("compile", *compile_words, *words, "-o", tmp_path / "model.jd")
    assert ended.complaint.startswith(
        "the calibration set cannot show that lossy codecs are right: all of 6 samples give the "
        "same answer"
    )
    assert not (tmp_path / "model.jd").exists()


@pytest.mark.parametrize("verb", ["compile", "plan", "explain"])
def test_lossy_without_its_needs(
    verb: str, branching_path: Path, jointdnn: Command, tmp_path: Path
) -> None:
    words = ["-o", tmp_path / "model.jd"] if verb == "compile" else []
    ended = jointdnn(verb, branching_path, *words, "--codecs", "lossy", "--max-error", 0.1)
    assert ended.complaint.startswith("lossy codecs need inputs to judge them by")


@pytest.mark.parametrize("verb", ["compile", "plan"])
def test_samples_that_are_not_there(
    verb: str, branching_path: Path, jointdnn: Command, tmp_path: Path
) -> None:
    words = ["-o", tmp_path / "model.jd"] if verb == "compile" else []
    costs = tmp_path / "costs"
    ended = jointdnn(verb, branching_path, *words, "--calibrate", tmp_path / "no", "--costs", costs)
    assert ended.complaint.startswith("there are no calibration samples at ")
    assert not costs.exists()  # said before anything was measured


def test_plan_names_the_codecs(
    compile_words: list[object], jointdnn: Command, tmp_path: Path
) -> None:
    ended = jointdnn("plan", *compile_words, "--calibrate", calibration(tmp_path, inputs(8)))
    assert ended.code == 0, ended
    assert "crossing the link: " in ended.out
    assert " by pixels" in ended.out
