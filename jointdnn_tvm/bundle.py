"""A bundle before it is on disk, and how it gets there whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.errors import BundleError
from jointdnn_tvm.placement import Side
from jointdnn_tvm.runtime.bundle_names import library_name, state_name, weights_name
from jointdnn_tvm.runtime.manifest import (
    FORMAT,
    MANIFEST,
    Manifest,
    file_entry,
)
from jointdnn_tvm.runtime.weights import write_weights


@dataclass(frozen=True)
class Half:
    """What one side runs: its linked library, and the weights that its stages read.

    `state` is what a step of training changes, before the first one; it may lack what starts as
    zeros. None: nothing changes.
    """

    library: bytes
    weights: Mapping[str, np.ndarray[Any, Any]]
    state: Mapping[str, np.ndarray[Any, Any]] | None = None


@dataclass(frozen=True)
class Bundle:
    """What a build made: the manifest (its list of files still empty), and each side that runs."""

    manifest: Manifest
    halves: Mapping[Side, Half]

    def save(self, path: str | Path) -> Path:
        """Write the bundle to the folder `path`, replacing a bundle that is there.

        Everything is written beside it first and moved into place at the end. BundleError when
        the place cannot be written, or holds something that is no bundle.
        """
        target = Path(path)
        check_output(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        except OSError as error:
            raise _cannot_write(target, error) from error
        try:
            self._write(part / "new")
            _replace(part, target)
        except OSError as error:
            raise _cannot_write(target, error) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return target

    def _write(self, folder: Path) -> None:
        folder.mkdir()
        for side, half in self.halves.items():
            (folder / library_name(side)).write_bytes(half.library)
            write_weights(folder / weights_name(side), half.weights)
            if half.state is not None:
                write_weights(folder / state_name(side), half.state)
        files = {p.name: file_entry(p) for p in sorted(folder.iterdir())}
        manifest = replace(self.manifest, files=files)
        (folder / MANIFEST).write_text(json.dumps(manifest.to_json(), indent=1) + "\n")


def check_output(path: Path) -> None:
    """Raise BundleError unless a bundle can be written to `path`; call it before the long work."""
    try:
        if path.exists() and not _may_be_replaced(path):
            raise BundleError(
                f"{path} exists and is no bundle, or holds other files too; choose another output"
            )
        parent = path.parent
        while not parent.exists():
            parent = parent.parent
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


def _may_be_replaced(path: Path) -> bool:
    """Whether `path` is a folder that holds nothing but a bundle, of any version, or nothing."""
    if not path.is_dir():
        return False
    found = {p.name for p in path.iterdir()}
    if not found:
        return True
    try:
        document = json.loads((path / MANIFEST).read_bytes())
        kind = str(document["format"]).partition("/")[0]
        own = {MANIFEST, *document["files"]}
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return False
    return kind == FORMAT.partition("/")[0] and found <= own


def _cannot_write(path: Path, error: OSError) -> BundleError:
    reason = error.strerror or str(error)
    return BundleError(f"the bundle {path} cannot be written ({reason}); choose another output")


def _replace(part: Path, target: Path) -> None:
    """Move `part`/new to `target`; what was there goes to `part`, and comes back if that fails."""
    if target.exists():
        target.rename(part / "old")
    try:
        (part / "new").rename(target)
    except OSError:
        if (part / "old").exists():
            (part / "old").rename(target)
        raise
