"""Bundles that must not be loaded: `run` and `verify` say so in one line, exit 1."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.bundle import Bundle
from tests.command import Command, contents

Save = Callable[[], Path]

FILES = ("mobile.so", "cloud.so", "mobile.safetensors", "cloud.safetensors")


@pytest.fixture
def refused(jointdnn: Command, branching_path: Path) -> Callable[[Path], str]:
    """Run and verify a bundle that is none; returns the one line, which is the same of both."""

    def refuse(bundle: Path) -> str:
        before = contents(bundle.parent)
        line = jointdnn("run", bundle, "--cloud", "local").complaint
        assert jointdnn("verify", bundle, branching_path).complaint == line
        assert contents(bundle.parent) == before
        return line

    return refuse


def _flip(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_damage(name: str, new_bundle: Save, refused: Any) -> None:
    bundle = new_bundle()
    path = bundle / name
    good = path.read_bytes()
    for place in (0, len(good) // 2, len(good) - 1):
        _flip(path, place)
        told = f"{path} differs from the manifest's checksum: it is damaged; copy or build"
        assert told in refused(bundle)
        path.write_bytes(good)
    for content in (b"", good[:-1], good + b"\0"):
        path.write_bytes(content)
        assert f"{path} has {len(content)} bytes, not {len(good)}: it is damaged" in refused(bundle)


def _symlink(path: Path) -> None:
    moved = path.parent.parent / path.name
    path.rename(moved)
    path.symlink_to(moved)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("replace", [_symlink, _folder, _fifo])
@pytest.mark.parametrize("name", [*FILES, "bundle.json"])
def test_no_plain_file(
    name: str, replace: Callable[[Path], None], new_bundle: Save, jointdnn: Command
) -> None:
    bundle = new_bundle()
    replace(bundle / name)
    line = jointdnn("run", bundle, "--cloud", "local").complaint
    assert str(bundle) in line
    assert "build the bundle again" in line or "give a bundle's folder" in line


@pytest.mark.parametrize("name", [*FILES, "bundle.json"])
def test_missing_file(name: str, new_bundle: Save, refused: Any) -> None:
    bundle = new_bundle()
    (bundle / name).unlink()
    line = refused(bundle)
    assert str(bundle) in line
    assert name in line


def test_no_bundle(tmp_path: Path, branching_path: Path, refused: Any) -> None:
    assert "there is no bundle at" in refused(tmp_path / "none.jd")
    assert "there is no bundle at" in refused(branching_path)
    (tmp_path / "empty").mkdir()
    assert "it has no bundle.json" in refused(tmp_path / "empty")


MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "newer": (lambda m: {**m, "format": "jointdnn-bundle/6"}, "has format '6', this version"),
    "foreign": (lambda m: {"version": 3, "modules": []}, "is not a bundle's manifest"),
    "list": (lambda m: [m], "is not a bundle's manifest"),
    "another TVM": (
        lambda m: {**m, "versions": {**m["versions"], "tvm": "0.99.0"}},
        "install apache-tvm==0.99.0 here, or build the bundle again",
    ),
    "no checksums": (lambda m: {**m, "files": {}}, "mobile.so has no checksum"),
    "file elsewhere": (
        lambda m: {**m, "files": {**m["files"], "../up.so": m["files"]["mobile.so"]}},
        "file name '../up.so' leaves the bundle",
    ),
    "negative size": (
        lambda m: {**m, "files": {n: {**f, "size_bytes": -1} for n, f in m["files"].items()}},
        "is damaged",
    ),
    "no stages": (lambda m: {**m, "stages": []}, "is made by no stage"),
    "half": (lambda m: {k: v for k, v in m.items() if k != "tensors"}, "'tensors'"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest(name: str, new_bundle: Save, refused: Any) -> None:
    change, told = MANIFESTS[name]
    path = new_bundle() / "bundle.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    line = refused(path.parent)
    assert str(path.parent) in line or "install" in line
    assert told in line


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b"1e999"])
def test_no_manifest(content: bytes, new_bundle: Save, refused: Any) -> None:
    path = new_bundle() / "bundle.json"
    path.write_bytes(content)
    assert str(path) in refused(path.parent)


@pytest.mark.parametrize("seed", range(10))
def test_flipped_bits_in_the_manifest(seed: int, new_bundle: Save, jointdnn: Command) -> None:
    """Whatever it says then, nothing crashes."""
    draw = random.Random(seed)
    path = new_bundle() / "bundle.json"
    text = path.read_bytes()
    until = text.index(b'"plan"')
    for _ in range(5):
        _flip(path, draw.randrange(until), draw.randrange(8))
        ended = jointdnn("run", path.parent, "--cloud", "local")
        assert ended.code == 0 or ended.complaint
        path.write_bytes(text)


def test_files_of_another_bundle(
    built: Bundle, new_bundle: Save, tmp_path: Path, refused: Any
) -> None:
    bundle = new_bundle()
    other = built.save(tmp_path / "other.jd")
    shutil.copyfile(other / "cloud.safetensors", bundle / "mobile.safetensors")
    assert f"{bundle / 'mobile.safetensors'} has " in refused(bundle)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--cloud", "somewhere"], "'somewhere' is not an address; write HOST:PORT"),
        (["--cloud", "somewhere:80:80"], "'somewhere:80:80' is not an address"),
        (["--tracker", "somewhere"], "'somewhere' is not an address"),
    ],
)
def test_no_address(
    words: list[str], told: str, new_bundle: Save, branching_path: Path, jointdnn: Command
) -> None:
    bundle = new_bundle()
    for verb in (["run", bundle], ["verify", bundle, branching_path]):
        assert told in jointdnn(*verb, *words).complaint


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--cloud", "no-such-host.invalid:9"], "the host of no-such-host.invalid:9 cannot be"),
        (["--cloud", "127.0.0.1:1"], "nobody listens there; start one with `jointdnn device"),
        (["--tracker", "127.0.0.1:1"], "no tracker at 127.0.0.1:1"),
    ],
)
def test_device_that_is_not_there(
    words: list[str], told: str, new_bundle: Save, branching_path: Path, jointdnn: Command
) -> None:
    """It costs time, not the answer; but there is nothing to verify then."""
    bundle = new_bundle()
    ended = jointdnn("run", bundle, *words)
    assert ended.code == 0
    assert "scores: [1, 5]" in ended.out
    assert told in ended.out
    line = jointdnn("verify", bundle, branching_path, *words).complaint
    assert line.startswith("the cloud was lost while verifying: ")
    assert told in line
