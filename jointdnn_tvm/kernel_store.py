"""Compiled kernels on disk, by what they compute and for which target: none is built twice."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jointdnn_tvm.errors import JointdnnError
from jointdnn_tvm.user_cache import user_cache

logger = logging.getLogger(__name__)

CAPACITY_BYTES = 1 << 30
_SUFFIX = ".o"
_PRUNED = "pruned"  # whose time of change is when that was
_PRUNE_EVERY_S = 3600.0


class KernelStore:
    """A folder of object files, each named by its key and the SHA-256 of its content.

    They lie in up to 256 folders by their keys: none is long to look through. Several processes
    may share it. OSError when the folder cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass

    def get(self, key: str) -> Path | None:
        """The object file of a kernel, if it is here and whole; it counts as used just now."""
        for path in self._folder(key).glob(f"{key}-*{_SUFFIX}"):
            with suppress(OSError):  # another process may have removed it
                if path == self._path(key, path.read_bytes()):
                    os.utime(path)
                    return path
                path.unlink()
        return None

    def put(self, key: str, write: Callable[[str], None]) -> Path:
        """Keep what `write` writes to the path that it is given."""
        with tempfile.TemporaryDirectory(dir=self.directory) as folder:
            new = Path(folder) / f"new{_SUFFIX}"
            write(str(new))
            path = self._path(key, new.read_bytes())
            path.parent.mkdir(exist_ok=True)
            new.replace(path)
        return path

    def prune(self, capacity_bytes: int = CAPACITY_BYTES) -> None:
        """Remove what was not used for longest, until the rest fits."""
        files = []
        for path in self.directory.rglob(f"*{_SUFFIX}"):
            with suppress(OSError):
                state = path.stat()
                files.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= capacity_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size

    def prune_at_times(self) -> None:
        """Prune when that was not done for an hour: it looks at every file."""
        mark = self.directory / _PRUNED
        try:
            if abs(time.time() - mark.stat().st_mtime) < _PRUNE_EVERY_S:
                return
        except FileNotFoundError:
            pass
        mark.touch()
        self.prune()

    def _folder(self, key: str) -> Path:
        return self.directory / hashlib.sha256(key.encode()).hexdigest()[:2]

    def _path(self, key: str, content: bytes) -> Path:
        return self._folder(key) / f"{key}-{hashlib.sha256(content).hexdigest()}{_SUFFIX}"


@contextmanager
def open_kernel_store() -> Iterator[KernelStore]:
    """The user's store, or one for the moment where there is no place for that."""
    try:
        store = KernelStore(user_cache() / "kernels")
    except (JointdnnError, OSError) as error:
        logger.debug("kernels are not kept: %s", error)
        with tempfile.TemporaryDirectory(prefix="jointdnn-kernels-") as folder:
            yield KernelStore(Path(folder))
        return
    yield store
    store.prune_at_times()
