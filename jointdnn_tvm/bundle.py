"""A bundle before it is on disk, and how it gets there whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.errors import BundleError
from jointdnn_tvm.placement import Side
from jointdnn_tvm.runtime.manifest import MANIFEST, Manifest, file_entry
from jointdnn_tvm.runtime.weights import write_weights


@dataclass(frozen=True)
class Bundle:
    """What a build made: the manifest (its list of files still empty), libraries and weights."""

    manifest: Manifest
    libraries: tempfile.TemporaryDirectory[str]
    weights: Mapping[Side, Mapping[str, np.ndarray[Any, Any]]]

    def save(self, path: str | Path) -> Path:
        """Write the bundle to the folder `path`, replacing a bundle that is there.

        Everything is written beside it first and moved into place at the end. BundleError when
        the place cannot be written, or holds something that is no bundle.
        """
        target = Path(path)
        check_output(target)
        try:
            part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        except OSError as error:
            raise _cannot_write(target, error) from error
        try:
            self._write(part)
            _replace(part, target)
        except OSError as error:
            raise _cannot_write(target, error) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return target

    def _write(self, folder: Path) -> None:
        folder.chmod(0o755)
        for side, weights in self.weights.items():
            library = Path(self.libraries.name) / f"{side}.so"
            if library.exists():
                shutil.copyfile(library, folder / library.name)
                write_weights(folder / f"{side}.safetensors", weights)
        files = {p.name: file_entry(p) for p in sorted(folder.iterdir())}
        manifest = replace(self.manifest, files=files)
        (folder / MANIFEST).write_text(json.dumps(manifest.to_json(), indent=1) + "\n")


def check_output(path: Path) -> None:
    """Raise BundleError unless a bundle can be written to `path`; call it before the long work."""
    if path.exists() and not (path.is_dir() and (path / MANIFEST).is_file()):
        if path.is_dir() and not any(path.iterdir()):
            return
        raise BundleError(f"{path} exists and is no bundle; choose another output")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> BundleError:
    reason = error.strerror or str(error)
    return BundleError(f"the bundle {path} cannot be written ({reason}); choose another output")


def _replace(new: Path, target: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    target.rename(old / "old")
    try:
        new.rename(target)
    except OSError:
        with suppress(OSError):
            (old / "old").rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
