"""The cloud's half of a run of training, inside the session process of a device server."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi

from jointdnn_tvm.errors import DivergedError, RunError
from jointdnn_tvm.runtime.checkpoint import Run, checkpoint_files, write_checkpoint
from jointdnn_tvm.runtime.manifest import Manifest, parse_stage
from jointdnn_tvm.runtime.message import decode, encode
from jointdnn_tvm.runtime.parts import PartedFunction
from jointdnn_tvm.runtime.stage_module import StageModule, check_runtime
from jointdnn_tvm.runtime.stage_server import StageServer, check_codecs
from jointdnn_tvm.runtime.training_entry import parse_training
from jointdnn_tvm.runtime.training_half import TrainingHalf
from jointdnn_tvm.runtime.weights import map_weights

OPEN_TRAINING = "jointdnn.open_training"
TRAIN = "jointdnn.train"
GET_STATE = "jointdnn.get_training_state"
KEEP_STATE = "jointdnn.keep_training_state"

FindFile = Callable[[str], Path]
Array = np.ndarray[Any, Any]
_ABANDONED_S = 30 * 24 * 3600
_RUN = re.compile(r"[0-9a-f]{32}")


class TrainingServer:
    """The stages and the half of one run, and where its checkpoints are kept."""

    def __init__(self, half: TrainingHalf, run: Run, folder: Path | None) -> None:
        self._half = half
        self._stages = StageServer(half, half.outgoing)
        self._run = run
        self._folder = folder
        self._request: object = None

    @classmethod
    def open(cls, text: str, find_file: FindFile, kept: Path | None) -> TrainingServer | None:
        """The half that a document asks for, in the words of `opening`; None: its state is lost.

        The state is a checkpoint below the folder `kept`, or a file that was sent. RunError and
        BundleError say what is wrong with the document, or with files that it names.
        """
        document = json.loads(text)
        check_runtime(document["tvm"])
        check_codecs(document["codecs"])
        run = Run(**document["run"])
        if not _RUN.fullmatch(run.name):
            raise RunError(f"{run.name[:40]!r} is no name of a run")
        folder = None if kept is None else kept / run.name
        state = _find_state(document["state"], folder, find_file)
        if state is None:
            return None
        library, weights = (find_file(document[k]) for k in ("library", "weights"))
        stages = [parse_stage(stage) for stage in document["stages"]]
        module = StageModule(library, weights, stages, "cloud")
        training = parse_training(document["training"])
        first = with_zeros(map_weights(state), document["shapes"])
        half = TrainingHalf(module, training, first, document["steps"], run.seed)
        return cls(half, run, folder)

    def train(self, message: bytes) -> bytes:
        """Run a stage of a step; the header tells how many steps the phone has taken.

        The answer's header has `diverged` when numbers were not finite, and says which.
        """
        header, tensors = decode(message)
        if header.get("request") != self._request:
            self._settle(header)
            self._half.begin()
            self._request = header.get("request")
        try:
            return self._stages.answer(header, tensors)
        except DivergedError as error:
            return encode({"diverged": str(error)}, {})

    def get_state(self, message: bytes) -> bytes:
        """The carried tensors that the header names."""
        header, _ = decode(message)
        self._settle(header)
        try:
            return encode({}, self._half.state(header["names"]))
        except KeyError as error:
            raise RunError(f"the cloud's half has no tensor {error}") from error

    def keep_state(self, text: str) -> str:
        """Write this half to the device's disk; returns the SHA-256 of the file."""
        self._settle(json.loads(text))
        if self._folder is None:
            raise RunError("there is no folder for the cloud's checkpoints")
        try:
            _drop_abandoned_runs(self._folder.parent)
            state = self._half.state(self._half.names)
            return write_checkpoint(
                self._folder, self._run, self._half.steps, state, {"side": "cloud"}
            )
        except OSError as error:
            raise RunError(f"{self._folder} cannot be written ({error.strerror})") from error

    def _settle(self, header: Mapping[str, Any]) -> None:
        steps = header.get("steps")
        if type(steps) is not int:
            raise RunError("a message's header lacks the number of steps")
        self._half.settle(steps)


def opening(run: Run, manifest: Manifest, files: Mapping[str, str], steps: int, state: str) -> str:
    """What to say to `TrainingServer.open`.

    Args:
        run: the run.
        manifest: of its bundle.
        files: SHA-256 of the cloud's `library` and `weights`.
        steps: how many were taken.
        state: SHA-256 of the file that has the cloud's half after them.
    """
    assert manifest.training is not None
    held = manifest.state_held_by("cloud")
    entries = {name: manifest.tensors[name] for name in held}
    return json.dumps(
        {
            **files,
            "state": state,
            "steps": steps,
            "run": asdict(run),
            "stages": [asdict(stage) for stage in manifest.stages_on("cloud")],
            "training": asdict(manifest.training),
            "shapes": {name: [list(e.shape), e.dtype] for name, e in entries.items()},
            "codecs": manifest.codecs,
            "tvm": manifest.versions.get("tvm"),
        }
    )


def with_zeros(
    found: Mapping[str, Array], shapes: Mapping[str, tuple[tuple[int, ...], str]]
) -> dict[str, Array]:
    """A tensor of each of these shapes and types: the one found, or zeros."""
    return {
        name: found[name] if name in found else np.zeros(shape, dtype)
        for name, (shape, dtype) in shapes.items()
    }


def _find_state(sha256: str, folder: Path | None, find_file: FindFile) -> Path | None:
    for file in [] if folder is None else checkpoint_files(folder):
        if file.sha256 == sha256:
            return file.path
    try:
        return find_file(sha256)
    except FileNotFoundError:
        return None


def _drop_abandoned_runs(folder: Path) -> None:
    """Runs that nobody went on with for a month leave the disk."""
    for run in folder.iterdir() if folder.is_dir() else ():
        if _RUN.fullmatch(run.name) and time.time() - run.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(run, ignore_errors=True)


def register(find_file: FindFile, kept: Path) -> None:
    """Add the functions of this side to the process's RPC functions.

    `find_file` gives the path of a file that was sent before, by its SHA-256, checked; checkpoints
    are written below the folder `kept`.
    """
    server: list[TrainingServer] = []

    def open_training(text: str) -> bool:
        opened = TrainingServer.open(text, find_file, kept)
        server[:] = [] if opened is None else [opened]
        return opened is not None

    def of_run() -> TrainingServer:
        if not server:
            raise RunError("no run of training is open in this session; open it first")
        return server[0]

    def keep_state(text: str) -> str:
        return of_run().keep_state(text)

    tvm_ffi.register_global_func(OPEN_TRAINING, open_training, override=True)
    PartedFunction(lambda message: of_run().train(message)).register(TRAIN)
    PartedFunction(lambda message: of_run().get_state(message)).register(GET_STATE)
    tvm_ffi.register_global_func(KEEP_STATE, keep_state, override=True)
