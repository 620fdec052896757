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

from jointdnn_tvm.codec.registry import CODECS, NONE
from jointdnn_tvm.errors import BundleError
from jointdnn_tvm.runtime.bundle_names import SIDES
from jointdnn_tvm.runtime.check_manifest import check_manifest
from jointdnn_tvm.runtime.dtypes import DTYPES
from jointdnn_tvm.runtime.parsing import as_table, as_text, as_texts, as_whole
from jointdnn_tvm.runtime.training_entry import TrainingEntry, parse_training

FORMAT = "jointdnn-bundle/5"
MANIFEST = "bundle.json"
_MAX_MANIFEST_BYTES = 64 << 20


@dataclass(frozen=True)
class FileEntry:
    """What a file of the bundle must be, to the byte."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class TensorEntry:
    """A tensor that crosses between stages, goes in or comes out, and its codec on the link."""

    shape: tuple[int, ...]
    dtype: str
    codec: str


@dataclass(frozen=True)
class StageEntry:
    """A stage: its function's name, the parameters of that function, and what it returns.

    Each side that can run the stage has the weights laid out in a way of its own.
    """

    name: str
    side: str
    inputs: tuple[str, ...]
    weights: Mapping[str, tuple[str, ...]]
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
    training: TrainingEntry | None = None
    """Of a bundle that trains. Its output is the loss."""

    def stages_on(self, side: str) -> tuple[StageEntry, ...]:
        """Stages that a side's library holds: its own, and all on a mobile with a fallback."""
        everything = side == "mobile" and self.fallback
        return tuple(s for s in self.stages if everything or s.side == side)

    def state_held_by(self, side: str) -> tuple[str, ...]:
        """Tensors of the state that a side keeps from step to step.

        They are those that live there, and on the mobile those too that its own stages read.
        """
        if self.training is None:
            return ()
        read = {t for s in self.stages if s.side == side == "mobile" for t in s.inputs}
        carried = (c.tensor for c in self.training.carried if c.home == side or c.tensor in read)
        return (*carried, *(r.kept for r in self.training.residuals if r.home == side))

    def state_on(self, side: str) -> tuple[str, ...]:
        """The state of which a side has first values: all on a mobile with a fallback."""
        if side == "mobile" and self.fallback and self.training is not None:
            return self.training.state
        return self.state_held_by(side)

    @property
    def codecs(self) -> list[str]:
        """The codecs that the link's two ends must know, beside that of plain tensors."""
        return sorted({t.codec for t in self.tensors.values()} - {NONE})

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document, format line first."""
        return {"format": FORMAT, **asdict(self)}


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the bundle in `folder`; BundleError says what is wrong with it."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise BundleError(f"there is no bundle at {folder}; make one with `jointdnn compile`")
    if not path.is_file():
        raise BundleError(f"{folder} is no bundle: it has no {MANIFEST}; give a bundle's folder")
    if path.is_symlink():
        raise BundleError(f"{path} is not a plain file; build the bundle again")
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_MANIFEST_BYTES + 1)
        if len(text) > _MAX_MANIFEST_BYTES:
            raise ValueError("it is larger than any manifest")
        document = json.loads(text)
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}); check its owner") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is damaged ({error}); build the bundle again") from error
    _check_format(path, document)
    try:
        return _parse(document)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{path} is damaged ({type(error).__name__}: {error}); build the bundle again"
        ) from error


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare size and SHA-256 of every file with the manifest; BundleError where one differs."""
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
    paths = [folder / name for name in manifest.files]
    try:
        with ThreadPoolExecutor(max_workers=4) as pool:  # hashing leaves the interpreter lock
            digests = list(pool.map(sha256_of, paths))
    except OSError as error:
        reason = f"{error.filename} cannot be read ({error.strerror})"
        raise BundleError(f"{reason}; check its owner, or build the bundle again") from error
    for path, entry, digest in zip(paths, manifest.files.values(), digests, strict=True):
        if digest != entry.sha256:
            raise BundleError(
                f"{path} differs from the manifest's checksum: it is damaged; "
                "copy or build the bundle again"
            )


def sha256_of(path: Path) -> str:
    """Hash a file without holding it in memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 18):
            digest.update(block)
    return digest.hexdigest()


def file_entry(path: Path) -> FileEntry:
    """Describe a file for the manifest."""
    return FileEntry(path.stat().st_size, sha256_of(path))


def _check_format(path: Path, document: Any) -> None:
    found = document.get("format") if isinstance(document, dict) else None
    name, _, version = str(found).partition("/")
    if name != "jointdnn-bundle":
        raise BundleError(f"{path} is not a bundle's manifest (format {found!r}); build it again")
    if found != FORMAT:
        raise BundleError(
            f"{path} has format {version!r}, this version reads {FORMAT.partition('/')[2]}; "
            "use the version of jointdnn_tvm that made it, or build the bundle again"
        )


def _parse(document: dict[str, Any]) -> Manifest:
    manifest = Manifest(
        network=as_text(document["network"]),
        versions={n: as_text(v) for n, v in as_table(document["versions"]).items()},
        targets={n: as_text(v) for n, v in as_table(document["targets"]).items()},
        inputs=tuple(_parse_port(p) for p in document["inputs"]),
        outputs=tuple(_parse_port(p) for p in document["outputs"]),
        tensors={n: _parse_tensor(t) for n, t in as_table(document["tensors"]).items()},
        stages=tuple(parse_stage(s) for s in document["stages"]),
        fallback=document["fallback"] is True,
        plan=as_table(document["plan"]),
        files={n: _parse_file(n, f) for n, f in as_table(document["files"]).items()},
        training=None if document["training"] is None else parse_training(document["training"]),
    )
    check_manifest(manifest)
    return manifest


def _parse_port(port: Any) -> Port:
    return Port(as_text(port["name"]), as_text(port["tensor"]))


def _parse_tensor(tensor: Any) -> TensorEntry:
    dtype = as_text(tensor["dtype"])
    if dtype not in DTYPES:
        raise ValueError(f"there is no element type {dtype!r}")
    codec = as_text(tensor["codec"])
    if codec not in CODECS or dtype not in CODECS[codec].dtypes:
        raise ValueError(f"there is no codec {codec!r} for {dtype}")
    return TensorEntry(tuple(as_whole(d) for d in tensor["shape"]), dtype, codec)


def parse_stage(stage: Any) -> StageEntry:
    """Read one stage; KeyError, TypeError or ValueError when it is none."""
    side = as_text(stage["side"])
    weights = {s: as_texts(names) for s, names in as_table(stage["weights"]).items()}
    if unknown := sorted({side, *weights} - set(SIDES)):
        raise ValueError(f"a stage is on side {unknown[0]!r}")
    inputs, outputs = as_texts(stage["inputs"]), as_texts(stage["outputs"])
    return StageEntry(as_text(stage["name"]), side, inputs, weights, outputs)


def _parse_file(name: str, file: Any) -> FileEntry:
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError(f"file name {name!r} leaves the bundle")
    return FileEntry(as_whole(file["size_bytes"]), as_text(file["sha256"]))
