"""Where a run of training stood: one half of its state in a file that is whole or not there."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.errors import BundleError
from jointdnn_tvm.runtime.manifest import sha256_of
from jointdnn_tvm.runtime.weights import map_with_metadata, write_weights

Array = np.ndarray[Any, Any]

FORMAT = "jointdnn-checkpoint/1"
_NAME = re.compile(r"step-(\d{1,12})-([0-9a-f]{64})\.safetensors")


@dataclass(frozen=True)
class Run:
    """What a run of training is: a bundle, and the seed of its masks."""

    name: str
    """Made up where it begins."""
    network: str
    bundle: str
    """SHA-256 of its manifest."""
    seed: int


@dataclass(frozen=True)
class CheckpointFile:
    """A file that says by its name which step it is of, and which SHA-256 it must have."""

    path: Path
    steps: int
    sha256: str


def checkpoint_files(folder: Path) -> list[CheckpointFile]:
    """The checkpoints in a folder, the newest first; none where there is no folder."""
    found = []
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(folder):
            if match := _NAME.fullmatch(name):
                found.append(CheckpointFile(folder / name, int(match[1]), match[2]))
    return sorted(found, key=lambda file: file.steps, reverse=True)


def write_checkpoint(
    folder: Path, run: Run, steps: int, state: Mapping[str, Array], about: Mapping[str, str]
) -> str:
    """Write a half after so many steps, and keep the one before it; returns its SHA-256.

    OSError when the folder cannot be written; what was there is then there still.
    """
    folder.mkdir(parents=True, exist_ok=True)
    described = {n: str(v) for n, v in asdict(run).items()}
    metadata = {"format": FORMAT, **described, "steps": str(steps), **about}
    handle, part = tempfile.mkstemp(dir=folder, prefix=".part-")
    os.close(handle)
    try:
        write_weights(Path(part), state, metadata)
        sha256 = sha256_of(Path(part))
        _to_disk(Path(part))
        os.replace(part, folder / f"step-{steps:08d}-{sha256}.safetensors")
    except BaseException:
        os.unlink(part)
        raise
    _to_disk(folder)
    _drop_others(folder, steps, sha256)
    return sha256


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _drop_others(folder: Path, steps: int, sha256: str) -> None:
    """Keep this checkpoint and the one before it: those behind are of steps taken otherwise."""
    files = checkpoint_files(folder)
    before = [file.steps for file in files if file.steps < steps]
    for file in files:
        kept = file.sha256 == sha256 or file.steps == max(before, default=None)
        if not kept:
            file.path.unlink(missing_ok=True)
    for name in os.listdir(folder):
        if name.startswith(".part-"):  # of a process that was killed
            (folder / name).unlink(missing_ok=True)


def read_checkpoint(file: CheckpointFile) -> tuple[Run, dict[str, Array], dict[str, str]]:
    """The run, its half of the state, and what was written about it.

    BundleError when the file is damaged, or of another format.
    """
    try:
        intact = sha256_of(file.path) == file.sha256
    except OSError as error:
        raise BundleError(f"{file.path} cannot be read ({error.strerror})") from error
    if not intact:
        raise BundleError(f"{file.path} is damaged: remove it, to go on from the one before it")
    arrays, about = map_with_metadata(file.path)
    if about.get("format") != FORMAT:
        raise BundleError(
            f"{file.path} has format {about.get('format')!r}, this version reads {FORMAT!r}; "
            "use the version of jointdnn_tvm that wrote it"
        )
    run = Run(about["name"], about["network"], about["bundle"], int(about["seed"]))
    return run, arrays, about
