"""The ways to a run's half on the cloud; a device server's is tested with `open_training`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from jointdnn_tvm.errors import DeviceError, RunError
from jointdnn_tvm.runtime.file_transfer import file_digest
from jointdnn_tvm.runtime.message import encode
from jointdnn_tvm.runtime.remote import RemoteSession
from jointdnn_tvm.runtime.training_cloud import LocalTrainingCloud, RemoteTrainingCloud
from jointdnn_tvm.runtime.training_server import GET_STATE, TRAIN


def test_files_of_this_process_are_not_copied(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    cloud = LocalTrainingCloud(None)
    assert cloud.send(tmp_path / "file") == file_digest(tmp_path / "file")
    assert cloud.alive


def test_half_that_is_not_open() -> None:
    cloud = LocalTrainingCloud(None)
    calls: list[Callable[[], Any]] = [
        lambda: cloud.run({"codecs": {}}, {}),
        lambda: cloud.state(0, []),
        lambda: cloud.keep(0),
    ]
    for call in calls:
        with pytest.raises(RunError, match="half on the cloud is not open"):
            call()


class Answering:
    """Stands for a session with a device whose functions all give this answer."""

    alive = True

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.told: list[tuple[float, str]] = []
        self.closed = False

    def function(self, name: str) -> Callable[..., Any]:
        assert name.startswith("jointdnn.")
        if name in (TRAIN, GET_STATE):
            return lambda before, last: len(self._answer).to_bytes(8, "little") + self._answer
        return lambda message: self._answer

    @contextmanager
    def deadline(self, seconds: float, what: str) -> Iterator[None]:
        self.told.append((seconds, what))
        yield

    def close(self) -> None:
        self.closed = True

    def __str__(self) -> str:
        return "device somewhere:1"


def remote(answer: Any) -> tuple[RemoteTrainingCloud, Answering]:
    session = Answering(answer)
    return RemoteTrainingCloud(cast(RemoteSession, session), 7.0), session


def test_every_call_has_a_deadline() -> None:
    cloud, session = remote(encode({}, {"t": np.arange(3)}))
    np.testing.assert_array_equal(cloud.run({"stage": "s", "codecs": {}}, {})["t"], [0, 1, 2])
    np.testing.assert_array_equal(cloud.state(3, ["t"])["t"], [0, 1, 2])
    cloud.keep(3)
    cloud.open("{}")
    assert [what for _, what in session.told] == [
        "running s",
        "fetching its half of the state",
        "writing a checkpoint",
        "opening the run",
    ]
    assert {seconds for seconds, _ in session.told} == {7.0}
    cloud.close()
    assert session.closed


def test_answers_that_are_none() -> None:
    cloud, _ = remote(b"nonsense")
    with pytest.raises(DeviceError, match="device somewhere:1 answered nonsense"):
        cloud.state(3, ["t"])
    cloud, _ = remote(encode({}, {"u": np.arange(3)}))
    with pytest.raises(DeviceError, match="answered with other tensors than it was asked for"):
        cloud.state(3, ["t"])
