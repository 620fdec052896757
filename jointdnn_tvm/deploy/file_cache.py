"""Files on a device by the SHA-256 of their content: what was sent once is not sent again."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.user_cache import user_cache

DEFAULT_CAPACITY_BYTES = 16 << 30
_DIGEST = re.compile("[0-9a-f]{64}")
_INCOMING = "incoming-"
_STALE_S = 3600.0


def default_directory() -> Path:
    """The user's own cache folder for device servers."""
    return user_cache() / "device"


class FileCache:
    """A folder of files named by their content; several processes may share it."""

    def __init__(self, directory: Path, capacity_bytes: int = DEFAULT_CAPACITY_BYTES) -> None:
        self.directory = directory
        self.capacity_bytes = capacity_bytes
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            raise DeviceError(
                f"the cache folder {directory} cannot be written ({error.strerror}); "
                f"choose another with --cache"
            ) from error

    def path(self, sha256: str) -> Path:
        """Where the file with that content lies, or would lie."""
        if not _DIGEST.fullmatch(sha256):
            raise DeviceError(f"{sha256!r} is not the SHA-256 of a file in lower-case hexadecimal")
        return self.directory / sha256

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether the whole file is here; it then counts as used just now."""
        path = self.path(sha256)
        try:
            if path.stat().st_size != size_bytes:
                return False
            os.utime(path)
        except OSError:
            return False
        return True

    @contextmanager
    def writer(self, sha256: str, size_bytes: int) -> Iterator[Any]:
        """A file to write the content to; it appears under its name when it proves right."""
        path = self.path(sha256)
        self._make_room(size_bytes)
        handle, name = tempfile.mkstemp(dir=self.directory, prefix=_INCOMING)
        try:
            with os.fdopen(handle, "wb") as file:
                checked = _CheckedFile(file)
                yield checked
            if checked.size_bytes != size_bytes or checked.digest.hexdigest() != sha256:
                raise DeviceError(f"what arrived as {sha256} is something else; send it again")
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise

    def _make_room(self, size_bytes: int) -> None:
        if size_bytes > self.capacity_bytes:
            raise DeviceError(
                f"a file of {size_bytes} bytes is over the cache's {self.capacity_bytes} bytes; "
                f"raise --cache-bytes of the device server"
            )
        files = []
        for path in self.directory.iterdir():
            with suppress(OSError):  # another process may have removed it
                state = path.stat()
                if _DIGEST.fullmatch(path.name):
                    files.append((state.st_mtime, state.st_size, path))
                elif path.name.startswith(_INCOMING) and time.time() - state.st_mtime > _STALE_S:
                    path.unlink()
        total = sum(size for _, size, _ in files) + size_bytes
        for _, size, path in sorted(files):
            if total <= self.capacity_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
        if shutil.disk_usage(self.directory).free < size_bytes:
            raise DeviceError(
                f"no room for {size_bytes} bytes in {self.directory}; free some, or choose "
                f"another folder with --cache"
            )


class _CheckedFile:
    """Hashes and counts what is written to a file."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size_bytes += len(data)
        return int(self._file.write(data))
