"""`jointdnn train` with a cloud, and runs that go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.command import Command
from tests.deployment import device_server, eventually, running
from tests.training_models import open_mlp

RNG = np.random.default_rng(0)
X = RNG.standard_normal((80, 6)).astype(np.float32)
Y = (X[:, :3] + 0.5 * X[:, 3:]).argmax(1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", x=X, label=Y)
    open_mlp(tmp_path).rename(tmp_path / "model")
    return tmp_path


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracker that knows a device of each side."""
    with running("tracker", "--port", "0") as (_, address):
        words = ("--tracker", str(address))
        phone, cloud = (tmp_path_factory.mktemp(side) for side in ("mobile", "cloud"))
        with (
            device_server(phone, *words, "--key", "mobile"),
            device_server(cloud, *words, "--key", "cloud"),
        ):
            yield str(address)


def words(data: Path, out: str, *more: object) -> list[object]:
    given: list[object] = [
        "train",
        data / "model",
        "--data",
        data / "data.npz",
        "--out",
        data / out,
    ]
    return [*given, "--batch", 8, "--learning-rate", 0.05, "--dropout", *more]


def trained(path: Path) -> dict[str, bytes]:
    graph = onnx.load(path).graph
    return {i.name: numpy_helper.to_array(i).tobytes() for i in graph.initializer}


@pytest.mark.parametrize("private", [[], ["--private", "labels"]])
def test_a_cloud_changes_no_bit(
    private: list[str], jointdnn: Command, data: Path, tracker: str
) -> None:
    assert jointdnn(*words(data, "here.onnx", "--epochs", 2)).code == 0
    split = ["--tracker", tracker, "--placement", "random:3", "--costs", data / "costs", *private]
    if private:  # at random it would not stay here
        split[3] = "auto"
    ended = jointdnn(*words(data, "split.onnx", "--epochs", 2, *split, "--json"))
    assert ended.code == 0, ended
    result = json.loads(ended.out)
    assert trained(data / "split.onnx") == trained(data / "here.onnx")
    sides = set(result["plan"]["placement"].values())
    assert (result["epochs"][-1]["link_bytes"] > 0) == ("cloud" in sides)
    if not private:
        assert sides == {"mobile", "cloud"}
    else:
        assert result["plan"]["sources"]["private"] == "labels"


def test_fewer_bits_are_asked_for_and_told(jointdnn: Command, data: Path, tracker: str) -> None:
    """The same plan gives the same bits, which are not those of exact training."""
    split = ["--tracker", tracker, "--placement", "random:3", "--costs", data / "costs"]
    split += ["--link", "up=1e5,down=1e5,rtt=0.001"]
    bytes_a_step = {}
    for codecs in ("none", "u8"):
        ended = jointdnn(*words(data, f"{codecs}.onnx", *split, "--codecs", codecs, "--json"))
        assert ended.code == 0, ended
        result = json.loads(ended.out)
        assert codecs in result["plan"]["codecs"].values()
        assert result["plan"]["sources"]["codecs"].split(",")[0] == codecs
        bytes_a_step[codecs] = result["epochs"][-1]["link_bytes"]
    assert bytes_a_step["u8"] < bytes_a_step["none"]
    ended = jointdnn(*words(data, "again.onnx", *split, "--codecs", "u8"))
    assert "as u8: not the bits of exact training" in ended.out
    weights = [trained(data / f"{name}.onnx") for name in ("none", "u8", "again")]
    assert weights[0] != weights[1] == weights[2]


def test_a_killed_run_goes_on(jointdnn: Command, data: Path, tracker: str) -> None:
    """The same command again, and the same bits in the end."""
    assert jointdnn(*words(data, "here.onnx", "--epochs", 40)).code == 0
    run = ["--checkpoints", data / "run", "--checkpoint-every", 7, "--tracker", tracker]
    run += ["--placement", "random:3", "--costs", data / "costs"]
    line = list(map(str, words(data, "split.onnx", "--epochs", 40, *run)))
    killed = subprocess.Popen([sys.executable, "-m", "jointdnn_tvm.cli", *line])
    try:
        assert eventually(lambda: list((data / "run").glob("step-*")), 120)
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
    assert not (data / "split.onnx").exists()
    ended = jointdnn(*line)
    assert ended.code == 0, ended
    assert "going on after step " in ended.err
    assert trained(data / "split.onnx") == trained(data / "here.onnx")
    again = jointdnn(*line, "--json")  # nothing is left to do but what came after the checkpoint
    assert json.loads(again.out)["steps"] == 400
    assert trained(data / "split.onnx") == trained(data / "here.onnx")


def test_a_folder_is_of_one_run(jointdnn: Command, data: Path) -> None:
    run = ["--checkpoints", data / "run"]
    assert jointdnn(*words(data, "tuned.onnx", *run)).code == 0
    line = jointdnn(*words(data, "tuned.onnx", *run, "--optimizer", "sgd")).complaint
    assert "is of a run with another optimizer (adamw, not sgd); give the same" in line
    (data / "other").mkdir()
    (data / "other" / "mine.txt").write_text("x")
    line = jointdnn(*words(data, "tuned.onnx", "--checkpoints", data / "other")).complaint
    assert "holds other files; give --checkpoints a folder of its own" in line
    (data / "run" / "settings.json").write_text("{")
    line = jointdnn(*words(data, "tuned.onnx", *run)).complaint
    assert "settings.json is damaged" in line


def test_no_device_and_no_such_placement(jointdnn: Command, data: Path) -> None:
    with running("tracker", "--port", "0") as (_, address):
        given = ["--tracker", address, "--device-timeout", 1]
        line = jointdnn(*words(data, "tuned.onnx", *given)).complaint
        assert "no device" in line or "key 'mobile'" in line
        line = jointdnn(*words(data, "tuned.onnx", *given, "--placement", "best")).complaint
        assert "placement 'best' is unknown" in line
    assert not (data / "tuned.onnx").exists()
