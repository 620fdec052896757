"""What `jointdnn tune` says, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from jointdnn_tvm.cli import tune
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.targets import load_target
from jointdnn_tvm.tuning.records import Record, merge, own_path, write_records
from jointdnn_tvm.tuning.tuner import Progress
from tests.command import Command

HOST = load_target("host")
RECORD = Record({"rows": 3}, 0.9, "here")


@pytest.fixture
def own(jointdnn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's records lie; there are none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return own_path(HOST)


def test_records_go_from_one_user_to_another(jointdnn: Command, own: Path, tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    assert "there are no records for target host" in jointdnn("tune", "--export", file).complaint
    merge(own, HOST, {"a": RECORD})
    ended = jointdnn("tune", "--export", file, "--json")
    assert json.loads(ended.out) == {"path": str(file), "records": 1}
    shutil.rmtree(own.parent)
    merge(own, HOST, {"b": RECORD})
    ended = jointdnn("tune", "--import", file)
    assert ended.out == f"2 records in {own}\n"
    assert json.loads(own.read_text())["kernels"].keys() == {"a", "b"}


def test_foreign_and_damaged_files_are_refused(
    jointdnn: Command, own: Path, tmp_path: Path
) -> None:
    file = tmp_path / "records.json"
    write_records(file, load_target("raspberry-pi-5"), {"a": RECORD})
    assert "was tuned for other target" in jointdnn("tune", "--import", file).complaint
    file.write_text("{}")
    assert "no file of tuned kernels" in jointdnn("tune", "--import", file).complaint
    assert "cannot be read" in jointdnn("tune", "--import", tmp_path / "none").complaint
    merge(own, HOST, {"a": RECORD})
    nowhere = tmp_path / "no" / "where.json"
    assert "cannot be written" in jointdnn("tune", "--export", nowhere).complaint


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give the ONNX file of the network to tune"),
        (["MODEL", "--minutes", "0"], "0 minutes are no time to tune in"),
        (["MODEL", "--target", "cuda-sm90"], "is a GPU"),
        (["MODEL", "--target", "phone"], "unknown target 'phone'"),
        (["MODEL", "--tracker", "127.0.0.1:9"], "no tracker at 127.0.0.1:9"),
        (["MODEL", "--tracker", "nine"], "nine"),
        (["nothing.onnx"], "nothing.onnx"),
    ],
)
def test_what_cannot_be_done(
    words: list[str], told: str, own: Path, branching_path: Path, jointdnn: Command
) -> None:
    given = [str(branching_path) if word == "MODEL" else word for word in words]
    assert told in jointdnn("tune", *given).complaint
    assert not own.exists()


def test_no_device_with_the_key(
    own: Path, branching_path: Path, jointdnn: Command, lab: LoopbackLab
) -> None:
    words = ["--tracker", str(lab.tracker), "--key", "toaster", "--device-timeout", "0.5"]
    line = jointdnn("tune", branching_path, *words).complaint
    assert "no device with key 'toaster' became free" in line
    assert "jointdnn tracker --status" in line


def test_result_and_progress() -> None:
    found = {"Convolution(…)": 0.75}
    result = {"network": "n", "path": "p", "kernels": 3, "searched_kernels": 2, "trials": 9}
    text = tune.render({**result, "known": 1, "share": 0.9, "records": found})
    assert " 25.0 % less time  Convolution(…)" in text
    assert "takes 0.900 of its time before; 1 new records in p" in text
    state = Progress(4, 2.0, 600.0, done=1, trials=7, gained_s=0.5)
    state.began -= 60
    assert tune._said(state) == "25.0 % gained so far, 7 trials, about 3:00 left"
    state.done = 0
    assert tune._said(state) == "25.0 % gained so far, 7 trials, about 9:00 left"
