"""Where a run begins or goes on; `test_open_training` has damaged and foreign checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.runtime.checkpoint import write_checkpoint
from jointdnn_tvm.runtime.manifest import MANIFEST, read_manifest, sha256_of
from jointdnn_tvm.runtime.training_start import TrainingBundle, starts
from jointdnn_tvm.training.step import TrainingStep
from tests.training_runs import CASES, build, in_turn


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> TrainingStep:
    return CASES["mlp"].step(tmp_path_factory.mktemp("model"))


def opened(bundle: Bundle, folder: Path) -> TrainingBundle:
    path = bundle.save(folder / "model.jd")
    manifest = read_manifest(path)
    assert manifest.training is not None
    return TrainingBundle(path, manifest, manifest.training, None)


@pytest.mark.parametrize("fallback", [True, False])
def test_new_run(step: TrainingStep, fallback: bool, tmp_path: Path) -> None:
    bundle = opened(build(step, in_turn(step), fallback=fallback), tmp_path)
    first, second = (starts(bundle, folder, 7)[0] for folder in (None, tmp_path / "empty"))
    assert first.steps == 0
    assert first.run.name != second.run.name
    assert (first.run.network, first.run.seed) == ("small_mlp", 7)
    assert first.run.bundle == sha256_of(bundle.folder / MANIFEST)
    assert first.cloud == bundle.manifest.files["cloud-state.safetensors"].sha256
    assert (first.state.keys() == bundle.carried) == fallback
    assert set(first.state) == set(bundle.manifest.state_on("mobile"))
    for name, array in first.state.items():
        np.testing.assert_array_equal(array, step.weights[name])


def test_run_that_goes_on(step: TrainingStep, tmp_path: Path) -> None:
    bundle = opened(build(step, in_turn(step)), tmp_path)
    (new,) = starts(bundle, None, 7)
    for steps in (3, 5):
        write_checkpoint(tmp_path / "kept", new.run, steps, new.state, {"cloud": f"sha of {steps}"})
    found = starts(bundle, tmp_path / "kept", 7)
    assert [(start.steps, start.cloud) for start in found] == [(5, "sha of 5"), (3, "sha of 3")]
    for start in found:
        assert start.run == new.run
        assert start.state.keys() == new.state.keys()
