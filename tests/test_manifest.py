"""The manifest is checked to the last entry before anything of a bundle is loaded."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.errors import BundleError
from jointdnn_tvm.runtime.manifest import (
    MANIFEST,
    check_files,
    file_entry,
    read_manifest,
    sha256_of,
)

Save = Callable[[], Path]


def fails(folder: Path, why: str) -> None:
    """Reading and checking says why not, in one line."""
    with pytest.raises(BundleError, match=why) as caught:
        check_files(folder, read_manifest(folder))
    assert "\n" not in str(caught.value)


def test_what_was_written_is_read(new_bundle: Save, built: Bundle) -> None:
    folder = new_bundle()
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    assert manifest.stages == built.manifest.stages
    assert manifest.tensors == built.manifest.tensors
    assert (manifest.inputs, manifest.outputs) == (built.manifest.inputs, built.manifest.outputs)
    assert manifest.plan == built.manifest.plan
    assert [p.name for p in manifest.outputs] == ["scores", "best", "joined"]
    assert manifest.files.keys() == {p.name for p in folder.iterdir()} - {MANIFEST}


def test_stages_that_each_side_holds(built: Bundle) -> None:
    stages = built.manifest.stages
    assert built.manifest.stages_on("mobile") == stages
    assert built.manifest.stages_on("cloud") == tuple(s for s in stages if s.side == "cloud")


def test_no_folder_and_no_manifest(tmp_path: Path) -> None:
    fails(tmp_path / "nothing", "there is no bundle at .*make one with")
    fails(tmp_path, "is no bundle: it has no bundle.json")
    (tmp_path / "file").write_text("text")
    fails(tmp_path / "file", "there is no bundle")
    (tmp_path / MANIFEST).mkdir()
    fails(tmp_path, "is no bundle: it has no bundle.json")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"{", "is damaged"),
        (b"[" * 200_000, "is damaged"),
        (b"[]", "is not a bundle's manifest"),
        (b"null", "is not a bundle's manifest"),
        (b"{}", "is not a bundle's manifest"),
        (b'{"format": 5}', "is not a bundle's manifest"),
        (b'{"format": "webpack-bundle/1"}', "is not a bundle's manifest"),
        (b'{"format": "jointdnn-bundle/1"}', "has format '1', this version reads 5; use the"),
        (b'{"format": "jointdnn-bundle/9\\n"}', "has format '9"),
        (b'{"format": "jointdnn-bundle/5"}', "is damaged"),
        (b'{"format": "jointdnn-bundle/5", "network": 1}', "is damaged"),
    ],
)
def test_manifest_that_is_none(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    fails(tmp_path, why)


def test_manifest_that_is_too_large(tmp_path: Path) -> None:
    with (tmp_path / MANIFEST).open("wb") as file:
        file.truncate(1 << 40)
    fails(tmp_path, "larger than any manifest")


def _set(document: Any, path: str, value: Any) -> None:
    *parents, last = (int(p) if p.isdigit() else p for p in path.split("/"))
    for parent in parents:
        document = document[parent]
    if value is KeyError:
        del document[last]
    else:
        document[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((key, KeyError) for key in ("network", "versions", "targets", "inputs", "outputs")),
        *((key, KeyError) for key in ("tensors", "stages", "fallback", "plan", "files")),
        *((key, None) for key in ("network", "versions", "targets", "inputs", "outputs")),
        *((key, None) for key in ("tensors", "stages", "plan", "files")),
        *((key, "text") for key in ("versions", "targets", "inputs", "tensors", "stages", "files")),
        *((key, [1]) for key in ("versions", "inputs", "outputs", "stages", "files", "plan")),
        ("versions/tvm", 27),
        ("inputs/0", {"name": "image"}),
        ("inputs/0/name", 5),
        ("inputs/1/name", "image"),
        ("inputs/0/tensor", "nowhere"),
        ("outputs/0/tensor", "nowhere"),
        ("outputs/0/tensor", ["scores"]),
        ("tensors/image", None),
        ("tensors/image", KeyError),
        ("tensors/image/shape", 5),
        ("tensors/image/shape", [1, "3"]),
        ("tensors/image/shape", [1, -3]),
        ("tensors/image/shape", [1.5]),
        ("tensors/image/shape", [True]),
        ("tensors/image/shape", [float("inf")]),
        ("tensors/image/codec", "u7"),
        ("tensors/image/codec", "bytes"),
        ("tensors/image/codec", KeyError),
        ("tensors/image/dtype", "float33"),
        ("tensors/image/dtype", None),
        ("stages/0", None),
        ("stages/0/side", "edge"),
        ("stages/0/name", KeyError),
        ("stages/0/name", {"a": 1}),
        ("stages/0/inputs", ["nowhere"]),
        ("stages/0/inputs", None),
        ("stages/0/weights", [5]),
        ("stages/1/outputs", KeyError),
        ("files/mobile.so", KeyError),
        ("files/cloud.so", KeyError),
        ("files/mobile.safetensors", KeyError),
        ("files/mobile.so", None),
        ("files/mobile.so/size_bytes", "12"),
        ("files/mobile.so/size_bytes", -1),
        ("files/mobile.so/size_bytes", float("inf")),
        ("files/mobile.so/sha256", 5),
    ],
)
def test_damaged_entry(new_bundle: Save, path: str, value: Any) -> None:
    folder = new_bundle()
    document = json.loads((folder / MANIFEST).read_text())
    _set(document, path, value)
    (folder / MANIFEST).write_text(json.dumps(document))
    fails(folder, r"bundle\.json is damaged \(.*build the bundle again")


def test_stages_in_the_wrong_order(new_bundle: Save) -> None:
    folder = new_bundle()
    document = json.loads((folder / MANIFEST).read_text())
    document["stages"].reverse()
    (folder / MANIFEST).write_text(json.dumps(document))
    fails(folder, "reads .* which nothing made")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "a\0b", "./mobile.so"]
)
def test_files_outside_the_bundle(new_bundle: Save, name: str) -> None:
    folder = new_bundle()
    document = json.loads((folder / MANIFEST).read_text())
    document["files"][name] = {"size_bytes": 0, "sha256": "0"}
    (folder / MANIFEST).write_text(json.dumps(document))
    fails(folder, "leaves the bundle")


def test_missing_file(new_bundle: Save) -> None:
    folder = new_bundle()
    (folder / "cloud.so").unlink()
    fails(folder, r"lacks cloud\.so; build the bundle again")


def test_link_pipe_or_folder_in_place_of_a_file(new_bundle: Save, tmp_path: Path) -> None:
    folder = new_bundle()
    library = folder / "mobile.so"
    library.rename(tmp_path / "elsewhere.so")
    library.symlink_to(tmp_path / "elsewhere.so")
    fails(folder, r"mobile\.so is not a plain file")
    library.unlink()
    os.mkfifo(library)
    fails(folder, r"mobile\.so is not a plain file")
    library.unlink()
    library.mkdir()
    fails(folder, r"mobile\.so is not a plain file")


def test_truncated_or_grown_file(new_bundle: Save) -> None:
    folder = new_bundle()
    library = folder / "mobile.so"
    content = library.read_bytes()
    for other in (content[:-1], content + b"\0", b""):
        library.write_bytes(other)
        fails(folder, rf"has {len(other)} bytes, not {len(content)}: it is damaged")


@pytest.mark.parametrize("seed", range(10))
def test_one_flipped_bit_in_any_file(new_bundle: Save, seed: int) -> None:
    folder = new_bundle()
    draw = random.Random(seed)
    file = draw.choice(sorted(p for p in folder.iterdir() if p.name != MANIFEST))
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)
    fails(folder, rf"{file.name} differs from the manifest's checksum")


@pytest.mark.parametrize("seed", range(200))
def test_flipped_bytes_in_the_manifest_never_escape(new_bundle: Save, seed: int) -> None:
    folder = new_bundle()
    draw, content = random.Random(seed), bytearray((folder / MANIFEST).read_bytes())
    for _ in range(draw.randint(1, 3)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    (folder / MANIFEST).write_bytes(content)
    try:
        manifest = read_manifest(folder)
        check_files(folder, manifest)
    except BundleError:
        return
    assert manifest.files.keys() >= {"mobile.so", "cloud.so"}


def test_checksum(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(file) == known
    assert (file_entry(file).size_bytes, file_entry(file).sha256) == (3, known)
