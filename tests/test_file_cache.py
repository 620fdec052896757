import hashlib
import os
import time
from pathlib import Path

import pytest

from jointdnn_tvm.deploy.file_cache import FileCache, default_directory
from jointdnn_tvm.errors import DeviceError


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _put(cache: FileCache, data: bytes) -> str:
    with cache.writer(_digest(data), len(data)) as file:
        file.write(data[:3])
        file.write(data[3:])
    return _digest(data)


def test_keeps_what_it_was_given(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "a" / "b")
    sha256 = _put(cache, b"content")
    assert cache.has(sha256, 7)
    assert not cache.has(sha256, 8)
    assert cache.path(sha256).read_bytes() == b"content"
    assert not cache.has(_digest(b"other"), 5)


def test_refuses_what_arrives_damaged(tmp_path: Path) -> None:
    cache = FileCache(tmp_path)
    with pytest.raises(DeviceError, match="send it again"), cache.writer("0" * 64, 1) as file:
        file.write(b"x")
    with pytest.raises(ZeroDivisionError), cache.writer("0" * 64, 1):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "x", "../" + "0" * 61, "A" * 64, "0" * 63 + "\n"])
def test_a_name_is_a_digest(tmp_path: Path, name: str) -> None:
    with pytest.raises(DeviceError, match="is not the SHA-256"):
        FileCache(tmp_path).path(name)


def test_forgets_what_was_used_longest_ago(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, capacity_bytes=25)
    first, second = _put(cache, b"a" * 10), _put(cache, b"b" * 10)
    for age, sha256 in ((100, first), (200, second)):
        os.utime(cache.path(sha256), (time.time() - age,) * 2)
    assert cache.has(second, 10)  # and is used by that
    third = _put(cache, b"c" * 10)
    assert not cache.has(first, 10)
    assert cache.has(second, 10)
    assert cache.has(third, 10)
    with pytest.raises(DeviceError, match="over the cache's 25 bytes; raise --cache-bytes"):
        _put(cache, b"d" * 26)


def test_cleans_up_after_a_transfer_that_was_killed(tmp_path: Path) -> None:
    stale, fresh = tmp_path / "incoming-1", tmp_path / "incoming-2"
    for path, age in ((stale, 7200), (fresh, 0)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    _put(FileCache(tmp_path), b"content")
    assert not stale.exists()
    assert fresh.exists()


def test_says_when_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeviceError, match=r"cannot be written .*; choose another with --cache"):
        FileCache(tmp_path / "file")


def test_default_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "jointdnn" / "device"
