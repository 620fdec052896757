"""Where a run of training begins, or goes on."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.errors import BundleError, RunError
from jointdnn_tvm.runtime.bundle_names import state_name
from jointdnn_tvm.runtime.checkpoint import CheckpointFile, Run, checkpoint_files, read_checkpoint
from jointdnn_tvm.runtime.manifest import MANIFEST, Manifest, sha256_of
from jointdnn_tvm.runtime.stage_module import StageModule
from jointdnn_tvm.runtime.training_entry import TrainingEntry
from jointdnn_tvm.runtime.training_server import with_zeros
from jointdnn_tvm.runtime.weights import map_weights

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TrainingBundle:
    """A bundle that trains, checked, with the mobile's stages loaded."""

    folder: Path
    manifest: Manifest
    training: TrainingEntry
    mobile: StageModule | None

    @property
    def carried(self) -> frozenset[str]:
        """All tensors of the state."""
        return frozenset(self.training.state)


@dataclass(frozen=True)
class Start:
    """A run after some steps, as the phone has it."""

    run: Run
    steps: int
    state: Mapping[str, Array]
    """By tensor: all of it, or the mobile's half."""
    cloud: str | None
    """SHA-256 of the file of the cloud's half; None: none was kept."""


def starts(bundle: TrainingBundle, checkpoints: Path | None, seed: int) -> list[Start]:
    """The starts from a folder of checkpoints, the newest first, or that of a new run.

    A damaged checkpoint is passed over.

    Raises:
        BundleError: one is of another bundle, or all are damaged.
        RunError: one is of a run with another seed.
    """
    files = [] if checkpoints is None else checkpoint_files(checkpoints)
    if not files:
        return [_fresh_start(bundle, seed)]
    found = [start for file in files if (start := _start_from(file, bundle, seed)) is not None]
    if not found:
        raise BundleError(
            f"all checkpoints in {checkpoints} are damaged; choose another folder, which begins "
            "the run again"
        )
    return found


def _fresh_start(bundle: TrainingBundle, seed: int) -> Start:
    folder, manifest = bundle.folder, bundle.manifest
    names = manifest.state_on("mobile")
    entries = {name: manifest.tensors[name] for name in names}
    found = map_weights(folder / state_name("mobile")) if names else {}
    state = with_zeros(found, {n: (e.shape, e.dtype) for n, e in entries.items()})
    run = Run(secrets.token_hex(16), manifest.network, sha256_of(folder / MANIFEST), seed)
    cloud = manifest.files.get(state_name("cloud"))
    return Start(run, 0, state, None if cloud is None else cloud.sha256)


def _start_from(file: CheckpointFile, bundle: TrainingBundle, seed: int) -> Start | None:
    try:
        run, state, about = read_checkpoint(file)
    except BundleError as error:
        logger.warning("%s", error)
        return None
    if run.bundle != sha256_of(bundle.folder / MANIFEST):
        raise BundleError(
            f"{file.path} is of another bundle than {bundle.folder} (network {run.network!r}); "
            "open that one, or choose another folder for the checkpoints"
        )
    if run.seed != seed:
        raise RunError(
            f"{file.path} is of a run with seed {run.seed}; open it with that seed, or choose "
            "another folder for the checkpoints"
        )
    return Start(run, file.steps, state, about.get("cloud"))
