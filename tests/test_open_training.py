"""Runs that begin, go on, or go on alone, with a real device server among them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.errors import BundleError, DeviceError, RunError
from jointdnn_tvm.runtime.open_training import open_training
from jointdnn_tvm.runtime.session import open_session
from jointdnn_tvm.training.step import TrainingStep
from tests.deployment import DeviceServerKind, device_server
from tests.training_runs import CASES, MLP, all_on, build, in_turn, lossy, same, train

STEPS = 12


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> TrainingStep:
    return CASES["mlp"].step(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def bundle(step: TrainingStep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(step, in_turn(step)).save(tmp_path_factory.mktemp("b") / "mlp.jd")


@pytest.fixture(scope="module")
def expected(bundle: Path) -> tuple[list[float], dict[str, np.ndarray]]:
    """Of a run that nothing disturbs."""
    with open_training(bundle, cloud="local") as trainer:
        return train(trainer, MLP, STEPS), trainer.weights()


def files(folder: Path) -> list[int]:
    """The steps of the checkpoints there."""
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("step-*"))


def test_run_on_a_device_goes_on_from_its_checkpoint(
    bundle: Path, expected: Any, tmp_path: Path
) -> None:
    losses, weights = expected
    kept = tmp_path / "checkpoints"
    with device_server(tmp_path / "device", "--key", "cloud") as (_, address):
        with open_training(bundle, cloud=str(address), checkpoints=kept) as trainer:
            assert train(trainer, MLP, 3) == losses[:3]
            trainer.checkpoint()
            assert train(trainer, MLP, 5) == losses[3:5]
            trainer.checkpoint()
            train(trainer, MLP, 7)
        with open_training(bundle, cloud=str(address), checkpoints=kept) as trainer:
            assert trainer.steps == 5
            assert train(trainer, MLP, STEPS) == losses[5:]
            trainer.checkpoint()
            same(trainer.weights(), weights)
        assert files(kept) == [5, STEPS]
        (on_device,) = (tmp_path / "device" / "cache" / "training").iterdir()
        assert files(on_device) == [5, STEPS]


@pytest.fixture(scope="module")
def coarse(step: TrainingStep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Activations and gradients cross with 8 bits a number."""
    made = build(step, in_turn(step), codecs=lossy(step, "u8"))
    return made.save(tmp_path_factory.mktemp("coarse") / "mlp.jd")


def test_lossy_run_goes_on_with_what_was_left(coarse: Path, tmp_path: Path) -> None:
    with open_training(coarse, cloud="local") as trainer:
        losses, state = train(trainer, MLP, STEPS), trainer.state()
    kept = tmp_path / "checkpoints"
    with device_server(tmp_path / "device", "--key", "cloud") as (_, address):
        with open_training(coarse, cloud=str(address), checkpoints=kept) as trainer:
            train(trainer, MLP, 5)
            trainer.checkpoint()
            assert train(trainer, MLP, 7) == losses[5:7]
        with open_training(coarse, cloud=str(address), checkpoints=kept) as trainer:
            assert trainer.steps == 5
            left = [array for n, array in trainer.state().items() if n.endswith("_residual")]
            assert any(array.any() for array in left)
            assert train(trainer, MLP, STEPS) == losses[5:]
            same(trainer.state(), state)


def test_lossy_run_goes_on_alone_and_comes_back(coarse: Path, tmp_path: Path) -> None:
    """Steps alone are exact; what is left of gradients waits for a cloud."""
    with open_training(coarse, cloud="local", checkpoints=tmp_path, alone=True) as trainer:
        train(trainer, MLP, 3)
        trainer.checkpoint()
        before = trainer.state()
    with open_training(coarse, checkpoints=tmp_path, alone=True) as trainer:
        assert trainer.steps == 3
        train(trainer, MLP, 5)
        trainer.checkpoint()
        after = trainer.state()
    for name, array in before.items():
        assert np.array_equal(after[name], array) == name.endswith("_residual"), name
    with open_training(coarse, cloud="local", checkpoints=tmp_path, alone=True) as trainer:
        assert trainer.steps == 5
        same(trainer.state(), after)
        train(trainer, MLP, 6)


def test_phone_that_died_before_its_half_was_written(
    bundle: Path, expected: Any, tmp_path: Path
) -> None:
    """The cloud is a checkpoint ahead, and has the one before."""
    losses, weights = expected
    with open_training(bundle, cloud="local", checkpoints=tmp_path) as trainer:
        for steps in (2, 4, 6):
            train(trainer, MLP, steps)
            trainer.checkpoint()
    newest = max(tmp_path.glob("step-*"))
    newest.unlink()
    with open_training(bundle, cloud="local", checkpoints=tmp_path) as trainer:
        assert trainer.steps == 4
        assert train(trainer, MLP, STEPS) == losses[4:]
        same(trainer.weights(), weights)


def test_damaged_checkpoint_is_passed_over(
    bundle: Path, expected: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    losses, _ = expected
    with open_training(bundle, cloud="local", checkpoints=tmp_path) as trainer:
        for steps in (2, 4):
            train(trainer, MLP, steps)
            trainer.checkpoint()
    older, newest = sorted(tmp_path.glob("step-*"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"\0")
    with open_training(bundle, cloud="local", checkpoints=tmp_path) as trainer:
        assert trainer.steps == 2
        assert train(trainer, MLP, 5) == losses[2:5]
    (warning,) = caplog.messages
    assert warning.startswith(f"{newest} is damaged: remove it")
    older.write_bytes(b"")
    with pytest.raises(BundleError, match=r"all checkpoints in .* are damaged; choose another"):
        open_training(bundle, cloud="local", checkpoints=tmp_path)


def test_checkpoint_of_something_else(bundle: Path, step: TrainingStep, tmp_path: Path) -> None:
    with open_training(bundle, cloud="local", checkpoints=tmp_path / "c", seed=1) as trainer:
        train(trainer, MLP, 1)
        trainer.checkpoint()
    with pytest.raises(RunError, match="is of a run with seed 1; open it with that seed"):
        open_training(bundle, cloud="local", checkpoints=tmp_path / "c")
    other = build(step, all_on(step, "mobile")).save(tmp_path / "other.jd")
    with pytest.raises(BundleError, match=r"of another bundle than .*other\.jd \(network 'small_m"):
        open_training(other, checkpoints=tmp_path / "c", seed=1)


def test_cloud_without_its_half(bundle: Path, tmp_path: Path) -> None:
    with open_training(bundle, cloud="local", checkpoints=tmp_path / "c") as trainer:
        train(trainer, MLP, 2)
        trainer.checkpoint()
    with (
        device_server(tmp_path / "device", "--key", "cloud") as (_, address),
        pytest.raises(DeviceError, match="does not have its half of the run after step 2; give"),
    ):
        open_training(bundle, cloud=str(address), checkpoints=tmp_path / "c")


def test_cloud_is_lost_and_the_phone_goes_on(bundle: Path, expected: Any, tmp_path: Path) -> None:
    losses, weights = expected
    kept = tmp_path / "checkpoints"
    with device_server(tmp_path / "device", "--key", "cloud") as (_, address):
        trainer = open_training(bundle, cloud=str(address), checkpoints=kept, alone=True)
        train(trainer, MLP, 4)
        trainer.checkpoint()
        assert train(trainer, MLP, 6) == losses[4:6]
    with pytest.raises(DeviceError, match=r"was lost .* goes on alone, and is after step 4 again"):
        train(trainer, MLP, STEPS)
    assert "was lost while running" in str(trainer.cloud_error)
    assert trainer.steps == 4
    assert train(trainer, MLP, 8) == losses[4:8]
    trainer.checkpoint()
    trainer.close()
    # Another device, which has nothing of this run, gets its half from the phone.
    with (
        device_server(tmp_path / "other", "--key", "cloud") as (_, address),
        open_training(bundle, cloud=str(address), checkpoints=kept, alone=True) as trainer,
    ):
        assert trainer.steps == 8
        assert train(trainer, MLP, STEPS) == losses[8:]
        same(trainer.weights(), weights)


def test_cloud_that_was_never_there(
    bundle: Path, expected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1:1.*nobody listens"):
        open_training(bundle, cloud="127.0.0.1:1")
    with open_training(bundle, cloud="127.0.0.1:1", alone=True) as trainer:
        assert train(trainer, MLP, STEPS) == expected[0]
        assert "nobody listens" in str(trainer.cloud_error)
    (warning,) = caplog.messages
    assert warning.endswith("; going on alone")


def test_where_the_cloud_is_must_be_said(bundle: Path) -> None:
    with pytest.raises(DeviceError, match="has cloud stages; say where they run"):
        open_training(bundle)
    with pytest.raises(DeviceError, match="'somewhere' is not an address"):
        open_training(bundle, cloud="somewhere", alone=True)


def test_bundle_that_cannot_train_alone(step: TrainingStep, tmp_path: Path) -> None:
    made = build(step, in_turn(step), fallback=False).save(tmp_path / "m.jd")
    with pytest.raises(BundleError, match="cannot train on the phone alone; build it with"):
        open_training(made, cloud="local", alone=True)


def test_kinds_of_bundles_are_told_apart(bundle: Path, built: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is a bundle that trains; open it with `jd\.open_train"):
        open_session(bundle, cloud="local")
    with pytest.raises(BundleError, match="is a bundle that does not train"):
        open_training(built.save(tmp_path / "m.jd"), cloud="local")


def test_device_server_that_cannot_train(
    serve_device: DeviceServerKind, bundle: Path, tmp_path: Path
) -> None:
    """The one in C++ says so; its device is free again."""
    if serve_device.is_python:
        pytest.skip("it can")
    with serve_device(tmp_path / "device", "--key", "cloud") as (_, address):
        for _ in range(2):
            with pytest.raises(DeviceError, match=r"has no function jointdnn\.open_training"):
                open_training(bundle, cloud=str(address), timeout_s=5)


_ON_A_PHONE = """
import sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        rest = name.removeprefix("jointdnn_tvm.") if name.startswith("jointdnn_tvm.") else ""
        if name in ("onnx", "onnxruntime", "tvm.relax", "networkx", "scipy") or rest and not (
            rest.split(".")[0] in ("codec", "runtime", "errors")
        ):
            raise ImportError(f"{name} is not on a phone")

sys.meta_path.insert(0, Forbidden())
import numpy
import jointdnn_tvm as jd
folder, file, kept = sys.argv[1:]
batches = numpy.load(file)
for steps in (2, 4):
    with jd.open_training(folder, cloud="local", checkpoints=kept) as trainer:
        while trainer.steps < steps:
            n = trainer.steps
            x, y = batches["x"][n], batches["y"][n]
            loss = trainer.step({"x": x}, y, learning_rate=0.05 / (1 + n))
            print(float(loss).hex())
        trainer.checkpoint()
"""


def test_phone_needs_numpy_zstandard_and_the_tvm_runtime_alone(
    bundle: Path, expected: Any, tmp_path: Path
) -> None:
    batches = [MLP.batch(step) for step in range(4)]
    xs, ys = (np.stack([batch[i] for batch in batches]) for i in (0, 1))
    np.savez(tmp_path / "batches.npz", x=xs, y=ys)
    environment = {**os.environ, "TVM_USE_RUNTIME_LIB": "1", "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_PHONE, bundle, tmp_path / "batches.npz", tmp_path / "kept"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [float.fromhex(line) for line in done.stdout.split()] == expected[0][:4]
