"""The ways to reach the cloud's half of a run of training: in this process, or on a device."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from jointdnn_tvm.errors import DeviceError, DivergedError, RunError
from jointdnn_tvm.runtime.cloud import Header, Tensors
from jointdnn_tvm.runtime.file_transfer import file_digest, send_file
from jointdnn_tvm.runtime.message import decode, encode, encode_pieces
from jointdnn_tvm.runtime.parts import PartedCalls
from jointdnn_tvm.runtime.remote import RemoteSession
from jointdnn_tvm.runtime.training_server import (
    GET_STATE,
    KEEP_STATE,
    OPEN_TRAINING,
    TRAIN,
    TrainingServer,
)

Sent = Mapping[str, np.ndarray | bytes]
"""Tensors, or frames of some that are encoded already."""


class TrainingCloud(Protocol):
    """The cloud's half of one run. Headers name the `steps` that the phone has taken.

    DeviceError when the cloud does not answer, or tells of an error of its own.
    """

    link_bytes: int
    """Of the messages of its stages, both ways."""

    @property
    def alive(self) -> bool:
        """Whether it can be called again."""

    def send(self, path: Path) -> str:
        """Let it have a file; returns its SHA-256."""

    def open(self, document: str) -> bool:
        """Open the half that a document asks for; False: it does not have that state."""

    def run(self, header: Header, tensors: Sent) -> Tensors:
        """Run one stage, as of a `Cloud`; DivergedError when it makes numbers that are none."""

    def state(self, steps: int, names: Sequence[str]) -> Tensors:
        """Carried tensors after so many steps."""

    def keep(self, steps: int) -> str:
        """Write the half after so many steps to its disk; returns the SHA-256 of the file."""

    def close(self) -> None:
        """Let go of it."""


class LocalTrainingCloud:
    """The cloud's half in this process, through the same messages; checkpoints below `kept`."""

    alive = True

    def __init__(self, kept: Path | None) -> None:
        self.link_bytes = 0
        self._kept = kept
        self._files: dict[str, Path] = {}
        self._server: TrainingServer | None = None

    def send(self, path: Path) -> str:
        """Remember where it is."""
        sha256 = file_digest(path)
        self._files[sha256] = path
        return sha256

    def open(self, document: str) -> bool:
        """Open the half that a document asks for; False: it does not have that state."""
        self._server = TrainingServer.open(document, self._find, self._kept)
        return self._server is not None

    def _find(self, sha256: str) -> Path:
        if sha256 not in self._files:
            raise FileNotFoundError(sha256)
        return self._files[sha256]

    def _opened(self) -> TrainingServer:
        if self._server is None:
            raise RunError("the run's half on the cloud is not open")
        return self._server

    def run(self, header: Header, tensors: Sent) -> Tensors:
        """Run one stage here."""
        message = encode(header, tensors, header["codecs"])
        answer = self._opened().train(message)
        self.link_bytes += len(message) + len(answer)
        return _results(answer)

    def state(self, steps: int, names: Sequence[str]) -> Tensors:
        """Carried tensors after so many steps."""
        message = encode({"steps": steps, "names": list(names)}, {})
        return decode(self._opened().get_state(message))[1]

    def keep(self, steps: int) -> str:
        """Write the half to this machine's disk."""
        return self._opened().keep_state(json.dumps({"steps": steps}))

    def close(self) -> None:
        """Nothing to let go of."""


class RemoteTrainingCloud:
    """The cloud's half on a device server; each call has the time limit."""

    def __init__(self, session: RemoteSession, timeout_s: float) -> None:
        self.link_bytes = 0
        self._session = session
        self._timeout_s = timeout_s
        self._open = session.function(OPEN_TRAINING)
        self._train = PartedCalls(session, TRAIN, timeout_s)
        self._get_state = PartedCalls(session, GET_STATE, timeout_s)
        self._keep_state = session.function(KEEP_STATE)

    @property
    def alive(self) -> bool:
        """Whether it can be called again."""
        return self._session.alive

    def send(self, path: Path) -> str:
        """Send what the device does not have yet."""
        return send_file(self._session.address, path, deadline_s=self._timeout_s)

    def open(self, document: str) -> bool:
        """Open the half that a document asks for; False: it does not have that state."""
        with self._session.deadline(self._timeout_s, "opening the run"):
            return bool(self._open(document))

    def run(self, header: Header, tensors: Sent) -> Tensors:
        """Run one stage there."""
        message = encode_pieces(header, tensors, header["codecs"])
        answer = self._train(message, f"running {header['stage']}")
        self.link_bytes += sum(map(len, message)) + len(answer)
        return self._read(answer)

    def state(self, steps: int, names: Sequence[str]) -> Tensors:
        """Carried tensors after so many steps."""
        message = encode_pieces({"steps": steps, "names": list(names)}, {})
        found = self._read(self._get_state(message, "fetching its half of the state"))
        if found.keys() != set(names):
            raise DeviceError(f"{self._session} answered with other tensors than it was asked for")
        return found

    def _read(self, answer: bytearray) -> Tensors:
        try:
            return _results(answer)
        except DivergedError:
            raise
        except RunError as error:
            raise DeviceError(f"{self._session} answered nonsense: {error}") from error

    def keep(self, steps: int) -> str:
        """Write the half to the device's disk."""
        with self._session.deadline(self._timeout_s, "writing a checkpoint"):
            return str(self._keep_state(json.dumps({"steps": steps})))

    def close(self) -> None:
        """End the session, so that the device is free for others."""
        self._session.close()


def _results(answer: bytes | bytearray) -> Tensors:
    """The tensors of a stage's answer."""
    header, tensors = decode(answer)
    if "diverged" in header:
        raise DivergedError(str(header["diverged"]))
    return tensors
