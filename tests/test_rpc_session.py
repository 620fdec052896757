import hashlib
from pathlib import Path

import pytest

from jointdnn_tvm.deploy.file_cache import FileCache
from jointdnn_tvm.deploy.rpc_session import file_in, find_file


def _cached(cache: FileCache, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    with cache.writer(sha256, len(data)) as file:
        file.write(data)
    return sha256


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cache")


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_finds_a_file_by_its_content(cache: FileCache, workdir: Path) -> None:
    sha256 = _cached(cache, b"library")
    path = find_file(workdir, cache, sha256)
    assert path == workdir / f"{sha256}.so"
    assert path.read_bytes() == b"library"
    assert find_file(workdir, cache, sha256) == path


def test_a_damaged_file_is_not_handed_out(cache: FileCache, workdir: Path) -> None:
    sha256 = _cached(cache, b"library")
    cache.path(sha256).write_bytes(b"librarx")
    with pytest.raises(ValueError, match="was damaged and is removed; send it again"):
        find_file(workdir, cache, sha256)
    with pytest.raises(FileNotFoundError, match="send it first"):
        find_file(workdir, cache, sha256)


@pytest.mark.parametrize("name", ["a", "lib-1.2_3+x.so", "0", "x" * 200])
def test_plain_names_lie_in_the_folder(workdir: Path, name: str) -> None:
    assert file_in(workdir, name) == str(workdir / name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "-x", "a/b", "/a", "a\n", "a\0", "é", "x" * 201]
)
def test_other_names_are_refused(workdir: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is not a plain file name"):
        file_in(workdir, name)
