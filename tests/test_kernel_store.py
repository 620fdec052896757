"""Object files by key: whole, shared, and no more than fit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jointdnn_tvm.kernel_store import KernelStore, open_kernel_store


def writes(content: bytes) -> Callable[[str], None]:
    def write(path: str) -> None:
        Path(path).write_bytes(content)

    return write


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_was_put_is_there_for_every_process(tmp_path: Path) -> None:
    path = KernelStore(tmp_path).put("kernel_1", writes(b"code"))
    assert path.read_bytes() == b"code"
    assert KernelStore(tmp_path).get("kernel_1") == path
    assert KernelStore(tmp_path).get("kernel_2") is None
    assert files_in(tmp_path) == [path]


@pytest.mark.parametrize("damage", [b"", b"cod", b"cofe", b"code and more"])
def test_damaged_file_is_as_good_as_none(tmp_path: Path, damage: bytes) -> None:
    store = KernelStore(tmp_path)
    path = store.put("kernel_1", writes(b"code"))
    path.write_bytes(damage)
    assert store.get("kernel_1") is None
    assert store.put("kernel_1", writes(b"code")) == path
    assert store.get("kernel_1") == path


def test_writing_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = KernelStore(tmp_path)

    def fail(path: str) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        store.put("kernel_1", fail)
    assert not files_in(tmp_path)


def test_least_recently_used_go_first(tmp_path: Path) -> None:
    store = KernelStore(tmp_path)
    paths = [store.put(f"kernel_{i}", writes(bytes(10))) for i in range(5)]
    for age, path in enumerate(paths):
        os.utime(path, (1000 - age, 1000 - age))
    store.get("kernel_4")
    store.prune(capacity_bytes=30)
    assert {path for path in paths if path.exists()} == {paths[4], paths[0], paths[1]}
    store.prune(capacity_bytes=0)
    assert not files_in(tmp_path)


def test_files_are_counted_once_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pruned: list[Path] = []
    monkeypatch.setattr(KernelStore, "prune", lambda store: pruned.append(store.directory))
    for _ in range(2):
        with open_kernel_store() as store:
            pass
    assert pruned == [store.directory]
    mark = store.directory / "pruned"
    hour_ago_s = mark.stat().st_mtime - 3601
    os.utime(mark, (hour_ago_s, hour_ago_s))
    with open_kernel_store():
        pass
    assert pruned == [store.directory] * 2


def test_folder_that_cannot_be_written_costs_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing")
    with open_kernel_store() as store:
        path = store.put("kernel_1", writes(b"code"))
        assert store.get("kernel_1") == path
    assert not path.exists()


def test_users_store_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with open_kernel_store() as store:
        path = store.put("kernel_1", writes(b"code"))
    with open_kernel_store() as store:
        assert store.get("kernel_1") == path
    assert path.is_relative_to(tmp_path / "jointdnn" / "kernels")
