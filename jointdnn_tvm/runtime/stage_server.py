"""The cloud's half of a crossing, inside the session process of a device server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tvm_ffi

from jointdnn_tvm.codec.registry import CODECS
from jointdnn_tvm.errors import RunError
from jointdnn_tvm.runtime.byte_connection import NOISE
from jointdnn_tvm.runtime.manifest import parse_stage
from jointdnn_tvm.runtime.message import decode, encode
from jointdnn_tvm.runtime.stage_module import StageModule, Value, as_array, check_runtime

OPEN_STAGES = "jointdnn.open_stages"
RUN_STAGE = "jointdnn.run_stage"
EXCHANGE = "jointdnn.exchange"


class Stages(Protocol):
    """What runs one stage after the other, as a `StageModule` does."""

    def run(self, name: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Run stage `name` on its input tensors and return the tensors that it hands out."""


Tensors = Mapping[str, np.ndarray]
Outgoing = Callable[[Tensors, Mapping[str, str]], Mapping[str, np.ndarray | bytes]]
"""Tensors as they are sent, by the codecs of those that have one; bytes are frames."""


def _as_they_are(tensors: Tensors, codecs: Mapping[str, str]) -> Tensors:
    return tensors


class StageServer:
    """Holds one side's stages, and the tensors that stay on the cloud until a request ends."""

    def __init__(self, stages: Stages, outgoing: Outgoing = _as_they_are) -> None:
        self._stages = stages
        self._outgoing = outgoing
        self._request: object = None
        self._held: dict[str, Value] = {}

    def run(self, message: bytes) -> bytes:
        """Answer one crossing: run the stage it names, return the tensors that it wants."""
        return self.answer(*decode(message))

    def answer(self, header: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
        """Answer a crossing whose message is unpacked."""
        try:
            request, stage, wanted = header["request"], header["stage"], list(header["wanted"])
            codecs = dict(header["codecs"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"a message's header lacks something: {error!r}") from error
        if request != self._request:
            self._request, self._held = request, {}
        self._held.update(tensors)
        self._held.update(self._stages.run(stage, self._held))
        if missing := [t for t in wanted if t not in self._held]:
            raise RunError(f"stage {stage!r} does not give tensor {missing[0]!r}")
        found = {t: as_array(self._held[t]) for t in wanted}
        answer = encode({}, self._outgoing(found, codecs), codecs)
        if header.get("last"):
            self._held = {}
        return answer


def check_codecs(names: Iterable[str]) -> None:
    """Raise RunError unless there are codecs of these names here."""
    if unknown := sorted(set(names) - CODECS.keys()):
        raise RunError(f"there is no codec {unknown[0]!r} here; use the version that compiled")


def register(find_file: Callable[[str], Path]) -> None:
    """Add the functions of this side to the process's RPC functions.

    `find_file` gives the path of a file that was sent before, by its SHA-256, checked.
    """
    server: list[StageServer] = []

    def open_stages(text: str) -> None:
        document = json.loads(text)
        check_runtime(document["tvm"])
        check_codecs(document["codecs"])
        stages = [parse_stage(s) for s in document["stages"]]
        library, weights = (find_file(document[k]) for k in ("library", "weights"))
        server[:] = [StageServer(StageModule(library, weights, stages, "cloud"))]

    def run_stage(message: bytes) -> bytearray:
        if not server:
            raise RunError("no stages are open in this session; open them first")
        return bytearray(server[0].run(bytes(message)))

    tvm_ffi.register_global_func(OPEN_STAGES, open_stages, override=True)

    def exchange(message: bytes) -> bytearray:
        """Answer as a stage would that takes no time, with as many bytes as the header wants."""
        header, _ = decode(bytes(message))
        return bytearray(encode({}, {"answer": np.resize(noise, header["answer_bytes"])}))

    noise = np.frombuffer(NOISE, "uint8")
    tvm_ffi.register_global_func(RUN_STAGE, run_stage, override=True)
    tvm_ffi.register_global_func(EXCHANGE, exchange, override=True)
