"""A bundle gets to disk whole or not at all, and never over something else."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm import bundle as bundle_module
from jointdnn_tvm.bundle import Bundle, Half, check_output
from jointdnn_tvm.errors import BundleError
from jointdnn_tvm.runtime.manifest import MANIFEST, check_files, read_manifest
from jointdnn_tvm.runtime.weights import map_weights


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, hidden files too."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"(folder)"
        for p in sorted(folder.rglob("*"))
    }


def check_bundle(folder: Path, built: Bundle) -> None:
    check_files(folder, read_manifest(folder))
    for side, half in built.halves.items():
        assert (folder / f"{side}.so").read_bytes() == half.library
        found = map_weights(folder / f"{side}.safetensors")
        assert found.keys() == half.weights.keys()
        for name, array in half.weights.items():
            np.testing.assert_array_equal(found[name], array)


def test_saved_bundle_is_whole(built: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "model.jd"
    assert built.save(str(target)) == target
    check_bundle(target, built)
    assert [p.name for p in target.parent.iterdir()] == ["model.jd"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o777 & ~mask
    assert stat.S_IMODE((target / MANIFEST).stat().st_mode) == 0o666 & ~mask


def test_bundle_replaces_a_bundle(built: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "model.jd"
    other = Bundle(built.manifest, {**built.halves, "mobile": Half(b"other", {})})
    other.save(target)
    assert (target / "mobile.so").read_bytes() == b"other"
    built.save(target)
    check_bundle(target, built)
    assert [p.name for p in tmp_path.iterdir()] == ["model.jd"]


def test_bundle_of_a_newer_format_may_be_replaced(built: Bundle, tmp_path: Path) -> None:
    target = built.save(tmp_path / "model.jd")
    text = (target / MANIFEST).read_text().replace("jointdnn-bundle/5", "jointdnn-bundle/7")
    (target / MANIFEST).write_text(text)
    built.save(target)
    check_bundle(target, built)


def test_empty_folder_is_used(built: Bundle, tmp_path: Path) -> None:
    (tmp_path / "model.jd").mkdir()
    check_bundle(built.save(tmp_path / "model.jd"), built)


def _file(target: Path, built: Bundle) -> None:
    target.write_text("mine")


def _folder(target: Path, built: Bundle) -> None:
    target.mkdir()
    (target / "notes.txt").write_text("mine")


def _foreign_manifest(target: Path, built: Bundle) -> None:
    _folder(target, built)
    (target / MANIFEST).write_text('{"format": "webpack/1", "files": {"notes.txt": 1}}')


def _damaged_manifest(target: Path, built: Bundle) -> None:
    _folder(target, built)
    (target / MANIFEST).write_text("{")


def _bundle_and_more(target: Path, built: Bundle) -> None:
    built.save(target)
    (target / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    "occupy", [_file, _folder, _foreign_manifest, _damaged_manifest, _bundle_and_more]
)
def test_what_is_no_bundle_is_never_replaced(
    built: Bundle, tmp_path: Path, occupy: Callable[[Path, Bundle], None]
) -> None:
    target = tmp_path / "model.jd"
    occupy(target, built)
    before = tree(tmp_path)
    for attempt in (built.save, check_output):
        with pytest.raises(BundleError, match=r"model\.jd exists and is no bundle.*another output"):
            attempt(target)
    assert tree(tmp_path) == before


def test_place_that_cannot_be_written(built: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    before = tree(tmp_path)
    too_long = tmp_path / ("n" * 300)
    for target in (tmp_path / "file" / "model.jd", Path("/proc/nothing/model.jd"), too_long):
        with pytest.raises(BundleError, match=r"cannot be written \(.*\); choose another output"):
            built.save(target)
    assert tree(tmp_path) == before


def test_check_writes_nothing(tmp_path: Path) -> None:
    check_output(tmp_path / "a" / "b" / "model.jd")
    assert tree(tmp_path) == {}


def _fail(*_args: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["write_weights", "file_entry", "_replace"])
@pytest.mark.parametrize("occupied", [False, True])
def test_failure_on_the_way_leaves_what_was_there(
    built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, occupied: bool
) -> None:
    if occupied:
        built.save(tmp_path / "model.jd")
    before = tree(tmp_path)
    monkeypatch.setattr(bundle_module, step, _fail)
    with pytest.raises(BundleError, match=r"cannot be written \(No space left on device\)"):
        built.save(tmp_path / "model.jd")
    assert tree(tmp_path) == before


def test_failure_of_the_last_move_brings_the_old_bundle_back(
    built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built.save(tmp_path / "model.jd")
    before = tree(tmp_path)
    rename = Path.rename

    def fail_for_new(path: Path, target: Path) -> Path:
        if path.name == "new":
            _fail()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(BundleError, match="cannot be written"):
        built.save(tmp_path / "model.jd")
    assert tree(tmp_path) == before


def test_interruption_leaves_nothing(
    built: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle_module, "write_weights", interrupt)
    with pytest.raises(KeyboardInterrupt):
        built.save(tmp_path / "model.jd")
    assert tree(tmp_path) == {}


def test_weight_that_cannot_be_stored(built: Bundle, tmp_path: Path) -> None:
    odd = Half(b"", {"w": np.zeros(3, "complex64")})
    with pytest.raises(BundleError, match="weight 'w' has type complex64"):
        Bundle(built.manifest, {"mobile": odd}).save(tmp_path / "model.jd")
    assert tree(tmp_path) == {}
