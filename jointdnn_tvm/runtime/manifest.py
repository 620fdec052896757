"""`bundle.json`: what a bundle holds, read and checked before anything of it is loaded."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jointdnn_tvm.errors import BundleError

FORMAT = "jointdnn-bundle/1"
MANIFEST = "bundle.json"
_MAX_MANIFEST_BYTES = 64 << 20


@dataclass(frozen=True)
class FileEntry:
    """What a file of the bundle must be, to the byte."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class TensorEntry:
    """A tensor that crosses between stages, goes in or comes out."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class StageEntry:
    """A stage: its function's name, the parameters of that function, and what it returns."""

    name: str
    side: str
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Port:
    """A network input or output: the user's name for it, and the tensor that it is."""

    name: str
    tensor: str


@dataclass(frozen=True)
class Manifest:
    """Everything that running a bundle needs to know, but code and weights."""

    network: str
    versions: Mapping[str, str]
    targets: Mapping[str, str]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    tensors: Mapping[str, TensorEntry]
    stages: tuple[StageEntry, ...]
    fallback: bool
    plan: Mapping[str, Any]
    files: Mapping[str, FileEntry]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document, format line first."""
        return {"format": FORMAT, **asdict(self)}


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the bundle in `folder`; BundleError says what is wrong with it."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise BundleError(f"there is no bundle at {folder}; make one with `jointdnn compile`")
    if not path.is_file():
        raise BundleError(f"{folder} is no bundle: it has no {MANIFEST}")
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} is larger than any manifest; build the bundle again")
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is damaged ({error}); build the bundle again") from error
    _check_format(path, document)
    try:
        return _parse(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"{path} is damaged ({type(error).__name__}: {error}); build the bundle again"
        ) from error


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare size and SHA-256 of every file with the manifest; BundleError on the first that differs."""
    for name, entry in manifest.files.items():
        path = folder / name
        try:
            status = os.lstat(path)
        except OSError:
            raise BundleError(f"{folder} lacks {name}; build the bundle again") from None
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path} is not a plain file; build the bundle again")
        if status.st_size != entry.size_bytes:
            raise BundleError(
                f"{path} has {status.st_size} bytes, not {entry.size_bytes}: it is damaged; "
                "copy or build the bundle again"
            )
    with ThreadPoolExecutor(max_workers=4) as pool:  # hashing leaves the interpreter lock
        digests = pool.map(lambda name: sha256_of(folder / name), manifest.files)
        for (name, entry), digest in zip(manifest.files.items(), digests, strict=True):
            if digest != entry.sha256:
                raise BundleError(
                    f"{folder / name} differs from the manifest's checksum: it is damaged; "
                    "copy or build the bundle again"
                )


def sha256_of(path: Path) -> str:
    """Hash a file without holding it in memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_entry(path: Path) -> FileEntry:
    """Describe a file for the manifest."""
    return FileEntry(path.stat().st_size, sha256_of(path))


def _check_format(path: Path, document: Any) -> None:
    found = document.get("format") if isinstance(document, dict) else None
    name, _, version = str(found).partition("/")
    if name != "jointdnn-bundle":
        raise BundleError(f"{path} is not a bundle's manifest (format {found!r})")
    if found != FORMAT:
        raise BundleError(
            f"{path} has format {version}, this version reads {FORMAT.partition('/')[2]}; "
            "use the version of jointdnn_tvm that made it, or build the bundle again"
        )


def _parse(document: dict[str, Any]) -> Manifest:
    files = {
        str(n): FileEntry(int(e["size_bytes"]), str(e["sha256"]))
        for n, e in document["files"].items()
    }
    for name in files:
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise ValueError(f"file name {name!r} leaves the bundle")
    tensors = {
        str(n): TensorEntry(tuple(int(d) for d in t["shape"]), str(t["dtype"]))
        for n, t in document["tensors"].items()
    }
    manifest = Manifest(
        network=str(document["network"]),
        versions=dict(document["versions"]),
        targets=dict(document["targets"]),
        inputs=tuple(Port(str(p["name"]), str(p["tensor"])) for p in document["inputs"]),
        outputs=tuple(Port(str(p["name"]), str(p["tensor"])) for p in document["outputs"]),
        tensors=tensors,
        stages=tuple(_parse_stage(s) for s in document["stages"]),
        fallback=bool(document["fallback"]),
        plan=dict(document["plan"]),
        files=files,
    )
    _check_references(manifest)
    return manifest


def _parse_stage(stage: dict[str, Any]) -> StageEntry:
    if stage["side"] not in ("mobile", "cloud"):
        raise ValueError(f"stage {stage['name']!r} is on side {stage['side']!r}")
    lists = (tuple(str(n) for n in stage[key]) for key in ("inputs", "weights", "outputs"))
    return StageEntry(str(stage["name"]), str(stage["side"]), *lists)


def _check_references(manifest: Manifest) -> None:
    """Every tensor that a stage reads must be there when the stage runs."""
    there = {p.tensor for p in manifest.inputs}
    for stage in manifest.stages:
        if missing := [t for t in stage.inputs if t not in there]:
            raise ValueError(f"stage {stage.name!r} reads {missing[0]!r}, which nothing made")
        there |= set(stage.outputs)
    if missing := [p.tensor for p in manifest.outputs if p.tensor not in there]:
        raise ValueError(f"output {missing[0]!r} is made by no stage")
    if unknown := sorted(there - manifest.tensors.keys()):
        raise ValueError(f"tensor {unknown[0]!r} has no shape")
