"""The ways to reach the cloud's stages: in this process, or on a device server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jointdnn_tvm.errors import DeviceError, RunError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.bundle_names import library_name, weights_name
from jointdnn_tvm.runtime.file_transfer import send_file
from jointdnn_tvm.runtime.manifest import Manifest
from jointdnn_tvm.runtime.message import decode, encode
from jointdnn_tvm.runtime.remote import RemoteSession, connect, request
from jointdnn_tvm.runtime.stage_module import StageModule
from jointdnn_tvm.runtime.stage_server import OPEN_STAGES, RUN_STAGE, StageServer

Tensors = dict[str, np.ndarray]
Header = Mapping[str, Any]


class Cloud(Protocol):
    """The cloud's side of the crossings of one session.

    A call's header names the `request`, the `stage`, the tensors that are `wanted` back, the
    `codecs` of those that have one, both ways, and whether it is the `last` of its request; the
    others stay there until then.
    """

    def run(self, header: Header, tensors: Tensors) -> Tensors:
        """Run one stage; DeviceError when the cloud does not answer."""

    def close(self) -> None:
        """Let go of it."""


class LocalCloud:
    """The cloud's stages in this process, through the same messages."""

    def __init__(self, module: StageModule) -> None:
        self._server = StageServer(module)

    def run(self, header: Header, tensors: Tensors) -> Tensors:
        """Run one stage here."""
        return decode(self._server.run(encode(header, tensors, header["codecs"])))[1]

    def close(self) -> None:
        """Nothing to let go of."""


class RemoteCloud:
    """The cloud's stages on a device server: one remote call a stage."""

    def __init__(self, session: RemoteSession, timeout_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._run_stage = session.function(RUN_STAGE)

    @classmethod
    def connect(
        cls,
        folder: Path,
        manifest: Manifest,
        session: RemoteSession,
        timeout_s: float,
    ) -> RemoteCloud:
        """Send what the device does not have yet of the cloud's side, and load it there."""
        library, weights = (
            send_file(session.address, folder / name, deadline_s=timeout_s)
            for name in (library_name("cloud"), weights_name("cloud"))
        )
        document = json.dumps(
            {
                "library": library,
                "weights": weights,
                "stages": [asdict(s) for s in manifest.stages_on("cloud")],
                "codecs": manifest.codecs,
                "tvm": manifest.versions.get("tvm"),
            }
        )
        open_stages = session.function(OPEN_STAGES)
        with session.deadline(timeout_s, "opening the cloud's stages"):
            open_stages(document)
        return cls(session, timeout_s)

    def run(self, header: Header, tensors: Tensors) -> Tensors:
        """Run one stage there, within the time limit."""
        what = f"running {header['stage']}"
        return call(self._session, self._run_stage, header, tensors, self._timeout_s, what)

    def close(self) -> None:
        """End the session, so that the device is free for others."""
        self._session.close()


def call(
    session: RemoteSession,
    function: Callable[[bytes], Any],
    header: Header,
    tensors: Tensors,
    timeout_s: float,
    what: str,
) -> Tensors:
    """Call a function of the device that answers a message with another one.

    DeviceError when it does not answer in time or answers something else; `what` completes
    "while …".
    """
    message = encode(header, tensors, header.get("codecs"))
    with session.deadline(timeout_s, what):
        answer = bytes(function(message))
    try:
        return decode(answer)[1]
    except RunError as error:
        raise DeviceError(f"{session} answered nonsense: {error}") from error


def reach(cloud: str | None, tracker: str | None, key: str, timeout_s: float) -> RemoteSession:
    """Open a session with the device at `cloud`, or with a free one that `tracker` knows."""
    if cloud is not None:
        return connect(Address.parse(cloud), key, timeout_s)
    return request(Address.parse(str(tracker)), key, timeout_s)
