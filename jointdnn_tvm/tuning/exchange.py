"""Records handed from one machine to another."""

from __future__ import annotations

from pathlib import Path

from jointdnn_tvm.errors import CostError
from jointdnn_tvm.targets import load_target
from jointdnn_tvm.tuning.records import (
    Records,
    merge,
    own_path,
    read_own,
    read_records,
    write_records,
)


def export_records(target: str, path: Path) -> tuple[Path, Records]:
    """Write the user's records for a target to a file of their own; CostError without any."""
    profile = load_target(target)
    records = read_own(profile)
    if not records:
        raise CostError(
            f"there are no records for target {profile.name} yet; make some with "
            f"`jointdnn tune MODEL --target {profile.name}`"
        )
    try:
        write_records(path.absolute(), profile, records)
    except OSError as error:
        raise CostError(f"{path} cannot be written ({error.strerror})") from error
    return path, records


def import_records(target: str, path: Path) -> tuple[Path, Records]:
    """Add the records of a file to the user's own for a target; CostError when they do not fit."""
    profile = load_target(target)
    return own_path(profile), merge(own_path(profile), profile, read_records(path, profile))
