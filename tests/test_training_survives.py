"""Phone or cloud killed, or the cable cut, in the middle of a run: the same weights in the end."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.open_training import open_training
from tests.cut_relay import CutRelay
from tests.deployment import START_S, device_server, eventually
from tests.training_runs import CASES, MLP, Array, build, in_turn, lossy, same, train

STEPS, EVERY = 100, 7
WAIT_S = 100.0


@dataclass(frozen=True)
class Undisturbed:
    """A bundle, the weights after its run, and how many bytes crossed meanwhile."""

    bundle: Path
    weights: dict[str, Array]
    bytes: int


class Cloud:
    """A device server that begins again at its own port, with its own files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._server = self._start()
        self.address: Address = self._server.wait_ready(START_S)

    def _start(self) -> ServerProcess:
        return device_server.process(self._folder, "--port", str(self._port), "--key", "cloud")

    def kill(self) -> None:
        """All its processes at once; then another begins."""
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.close()
        self._server = self._start()

    def close(self) -> None:
        self._server.close()


class Phone:
    """A process that trains, and that begins again when it was killed."""

    def __init__(self, log: Path, *words: object) -> None:
        self._log = log
        self._changing = threading.Lock()
        self._words = [sys.executable, "-m", "tests.phone_that_trains", *map(str, words)]
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._words, start_new_session=True, stderr=log)

    def kill(self) -> None:
        with self._changing:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = self._start()

    def check_it_ends(self, seconds: float) -> None:
        """A process that was killed does not count."""

        def has_ended() -> bool:
            with self._changing:
                return self._process.poll() is not None

        assert eventually(has_ended, seconds), self._log.read_text()
        assert self._process.returncode == 0, self._log.read_text()

    def close(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def running(bundle: Path, folder: Path) -> Iterator[tuple[Cloud, CutRelay, Phone, Path]]:
    """A run on a cloud behind a relay, and the file that its weights come to."""
    folder.mkdir(exist_ok=True)
    cloud = Cloud(folder)
    try:
        with CutRelay(cloud.address) as relay:
            result = folder / "weights.npz"
            words = (bundle, relay.address, folder / "kept", STEPS, EVERY, result)
            phone = Phone(folder / "log", *words)
            try:
                yield cloud, relay, phone, result
            finally:
                phone.close()
    finally:
        cloud.close()


@pytest.fixture(scope="module", params=["exact", pytest.param("u8", marks=pytest.mark.slow)])
def undisturbed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    step = CASES["mlp"].step(folder)
    codecs = {} if request.param == "exact" else lossy(step, request.param)
    bundle = build(step, in_turn(step), codecs=codecs).save(folder / "mlp.jd")
    with open_training(bundle, cloud="local", seed=3) as trainer:
        train(trainer, MLP, STEPS)
        weights = trainer.weights()
    with running(bundle, folder / "run") as (_, relay, phone, result):
        phone.check_it_ends(WAIT_S)
        same(dict(np.load(result)), weights)
        return Undisturbed(bundle, weights, relay.bytes)


def _moments() -> list[Any]:
    found = []
    for what in ("cloud", "phone", "cable"):
        for seed in range(10):
            marks = [pytest.mark.slow] if seed else []
            found.append(pytest.param(what, seed, marks=marks))
    return found


@pytest.mark.parametrize(("what", "seed"), _moments())
def test_disturbed_run_ends_with_the_same_weights(
    what: str, seed: int, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    moment = random.Random(f"{what} {seed}").randrange(undisturbed.bytes)
    with running(undisturbed.bundle, tmp_path) as (cloud, relay, phone, result):
        happened = []

        def disturb() -> None:
            happened.append(what)
            if what == "cloud":
                cloud.kill()
            elif what == "phone":
                phone.kill()

        relay.act = disturb
        relay.after_bytes = moment
        phone.check_it_ends(WAIT_S)
        assert happened == [what]
        same(dict(np.load(result)), undisturbed.weights)
