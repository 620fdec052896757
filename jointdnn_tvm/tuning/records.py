"""What tuning found, on disk: one JSON file for a target, to be copied, merged and shipped.

::

    {"format": "jointdnn-tuned/1",
     "target": "llvm znver4, 32 registers of 16 lanes",   what the choices mean anything for
     "versions": "tvm 0.27.0.post1, kernels 4f1d…",        what they were tried with
     "kernels": {"Convolution(image=(1, 56, 56, 64), …)":
         {"choice": {"outputs": 0, "rows": 6, …}, "share": 0.91, "device": "…"}}}

`share` is what is left of the rule's time. Writers lock the file's folder and replace the file
whole, so that none of several loses what another found, and a reader never sees half a file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import tvm

from jointdnn_tvm import passes
from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.errors import CostError, JointdnnError
from jointdnn_tvm.passes.kernels.choice import Choice
from jointdnn_tvm.targets import TargetProfile, load_target
from jointdnn_tvm.user_cache import user_cache

logger = logging.getLogger(__name__)

_FORMAT = "jointdnn-tuned/1"
_SHIPPED = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class Record:
    """What was chosen for a kernel, its share of the rule's time, and where that was measured."""

    choice: Choice
    share: float
    device: str


Records = Mapping[str, Record]
"""By kernel."""


def tuned_target(name_or_path: str) -> TargetProfile:
    """A target with the records that there are for it: those shipped, and over them the user's."""
    profile = load_target(name_or_path)
    if profile.kind != "cpu":
        return profile
    return with_records(profile, {**read_shipped(profile), **read_own(profile)})


def with_records(profile: TargetProfile, records: Records) -> TargetProfile:
    """The target with what the records say decided."""
    return replace(profile, tuned={kernel: dict(r.choice) for kernel, r in records.items()})


def own_path(profile: TargetProfile) -> Path:
    """The user's own file for a target, under the versions that there are now."""
    made_for = f"{target_text(profile)} {versions()}"
    digest = hashlib.sha256(made_for.encode()).hexdigest()[:12]
    return user_cache() / "tuned" / f"{profile.name}-{digest}.json"


def read_own(profile: TargetProfile) -> Records:
    """The user's records; empty when there are none."""
    try:
        path = own_path(profile)
    except JointdnnError:  # no home folder
        return {}
    return read_records(path, profile) if path.exists() else {}


def read_records(path: Path, profile: TargetProfile) -> Records:
    """The records of a file; CostError when it is damaged, or not for this target and versions."""
    document = _read(path)
    for key, what, now in (
        ("target", "target", target_text(profile)),
        ("versions", "versions", versions()),
    ):
        if document.get(key) != now:
            raise CostError(
                f"{path} was tuned for other {what}, {document.get(key)!r}; here it is {now!r}: "
                f"tune again with `jointdnn tune MODEL --target {profile.name}`"
            )
    kernels = document.get("kernels")
    if not isinstance(kernels, dict):
        raise _damaged(path, "it has no kernels")
    return {name: _record(path, name, told) for name, told in kernels.items()}


def merge(path: Path, profile: TargetProfile, records: Records) -> Records:
    """Add records to a file, of two for the same kernel the faster; returns what it then holds."""
    with _locked(path.parent):
        held = dict(read_records(path, profile)) if path.exists() else {}
        for kernel, record in records.items():
            if kernel not in held or record.share < held[kernel].share:
                held[kernel] = record
        write_records(path, profile, held)
    return held


def remove(path: Path, profile: TargetProfile, kernels: Mapping[str, Any]) -> None:
    """Take the records of these kernels out of a file."""
    with _locked(path.parent):
        held = read_records(path, profile)
        write_records(path, profile, {k: r for k, r in held.items() if k not in kernels})


def write_records(path: Path, profile: TargetProfile, records: Records) -> None:
    """Write a file, whole or not at all."""
    document = {
        "format": _FORMAT,
        "target": target_text(profile),
        "versions": versions(),
        "kernels": {kernel: asdict(record) for kernel, record in sorted(records.items())},
    }
    text = json.dumps(document, indent=1) + "\n"
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def target_text(profile: TargetProfile) -> str:
    """What a choice depends on, of a target: the processor that code is made for.

    Not its caches or cores: a choice gives way where it leaves threads without work.
    """
    made_for = tvm_target(profile).export()
    named = [str(made_for[key]) for key in ("kind", "mtriple", "mcpu") if key in made_for]
    return f"{' '.join(named)}, {profile.vector_registers} registers of {profile.lanes} lanes"


def versions() -> str:
    """What made the kernels that were tried."""
    return f"tvm {tvm.__version__}, kernels {kernels_digest()}"


@cache
def kernels_digest() -> str:
    """Hash of the code that writes kernels: another makes others of the same choice."""
    digest = hashlib.sha256()
    for path in sorted(Path(passes.__path__[0], "kernels").glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def read_shipped(profile: TargetProfile) -> Records:
    """Those that come with the package, as far as they are for this target and these kernels."""
    found: dict[str, Record] = {}
    for path in sorted(_SHIPPED.glob("*.json")):
        try:
            found |= read_records(path, profile)
        except CostError as error:
            logger.debug("not used: %s", error)
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise CostError(f"the records {path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not JSON") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise _damaged(path, f"it does not say format {_FORMAT!r}")
    return document


def _record(path: Path, kernel: str, told: Any) -> Record:
    try:
        record = Record(dict(told["choice"]), float(told["share"]), str(told["device"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"the entry of {kernel[:60]} is not complete") from error
    plain = all(type(k) is str and type(v) is int for k, v in record.choice.items())
    if not plain or not 0 < record.share < math.inf:
        raise _damaged(path, f"the entry of {kernel[:60]} holds wrong values")
    return record


def _damaged(path: Path, why: str) -> CostError:
    return CostError(f"{path} is no file of tuned kernels: {why}; export it again, or remove it")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone among all processes that write records there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise CostError(f"records cannot be written to {folder} ({error.strerror})") from error
