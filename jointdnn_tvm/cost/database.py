"""Measurements on disk, so that nothing is measured twice.

One SQLite file, safe for several processes; every measurement is on disk when `put` returns.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

from jointdnn_tvm.cost.confidence import TOLERANCE
from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.errors import CostError
from jointdnn_tvm.runtime.closing import Closing
from jointdnn_tvm.user_cache import user_cache

_APPLICATION_ID = 0x4A44_4342  # SQLite keeps it in the file's header
_SCHEMA = 4
_PATIENCE_S = 30.0
_TABLE = """
CREATE TABLE measurements (
    workload TEXT NOT NULL,
    target TEXT NOT NULL,
    device TEXT NOT NULL,
    versions TEXT NOT NULL,
    latency_s REAL,
    spread_s REAL NOT NULL,
    repeats INTEGER NOT NULL,
    reason TEXT,
    source TEXT NOT NULL,
    measured_at REAL NOT NULL,
    PRIMARY KEY (workload, target, device, versions)
) WITHOUT ROWID
"""
_TRANSFERS = """
CREATE TABLE IF NOT EXISTS transfers (
    mobile TEXT NOT NULL,
    cloud TEXT NOT NULL,
    versions TEXT NOT NULL,
    transfer TEXT NOT NULL,
    measured_at REAL NOT NULL,
    PRIMARY KEY (mobile, cloud, versions)
) WITHOUT ROWID
"""
_LATER = {"interval_s": "REAL", "energy": "TEXT"}  # format 1 has neither, files of 2 have either
_KEY = "workload, target, device, versions"
_VALUES = "latency_s, spread_s, repeats, reason, source, interval_s, energy"
_INSERT = (
    f"INSERT OR REPLACE INTO measurements ({_KEY}, {_VALUES}, measured_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SELECT = (
    f"SELECT {_VALUES} FROM measurements "
    "WHERE workload = ? AND target = ? AND device = ? AND versions = ?"
)
_PAIR = "mobile = ? AND cloud = ? AND versions = ?"


@dataclass(frozen=True)
class Energy:
    """What one call of a workload takes above the idle device, or why that is not known.

    `energy_j` is None for a failure, which has a `reason`, and no `samples` when the sensor failed.
    `idle_w` is what the device takes when it does nothing; `samples` counts the sensor's values in
    a window of `window_s`. `source` is ``measured:`` and the sensor's name.
    """

    energy_j: float | None
    idle_w: float
    window_s: float
    samples: int
    reason: str | None
    source: str

    @classmethod
    def failure(cls, reason: str, source: str) -> Energy:
        """It cannot be measured there: the target's model has to do."""
        return cls(None, 0.0, 0.0, 0, " ".join(reason.split()), source)


@dataclass(frozen=True)
class Measurement:
    """How long one workload takes on one device, or why it cannot run there.

    `latency_s` is the median of `repeats`, None for a failure, which has a `reason`; `spread_s`
    is the range of the middle half. `interval_s` is half the width of the interval that holds the
    true median with 95 % confidence; None where the repeats are too few to tell. `source` says how
    it was got, and whether it was emulated. `energy` is None where nobody asked, or the device has
    no sensor.
    """

    latency_s: float | None
    spread_s: float
    repeats: int
    reason: str | None
    source: str
    interval_s: float | None = None
    energy: Energy | None = None

    @property
    def steady(self) -> bool:
        """Whether the median is known within 2 %."""
        if self.latency_s is None or self.interval_s is None:
            return False
        return self.interval_s <= TOLERANCE * self.latency_s

    @property
    def has_energy(self) -> bool:
        """Whether a sensor gave values while it ran, though they may have told nothing."""
        return self.energy is not None and self.energy.samples > 0

    @classmethod
    def failure(cls, reason: str, source: str) -> Measurement:
        """It cannot be built or run there."""
        return cls(None, 0.0, 0, " ".join(reason.split()), source)


@dataclass(frozen=True)
class CostKey:
    """What a measurement depends on, each as text that is the same wherever it is made."""

    workload: str
    target: str
    device: str
    versions: str


@dataclass(frozen=True)
class PairKey:
    """What the cost of crossings depends on: both devices, and what packs and carries messages."""

    mobile: str
    cloud: str
    versions: str


def default_path() -> Path:
    """The user's own database."""
    return user_cache() / "costs.sqlite"


class CostDatabase(Closing):
    """Open with `CostDatabase.open`; one object serves one thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: str | Path | None = None) -> CostDatabase:
        """Open or create it; CostError when the file is something else, newer, or not writable."""
        path = default_path() if path is None else Path(path)
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False
            )
        try:
            with _explained(path):
                _prepare(path, connection)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        return cls(path, connection)

    def get(self, key: CostKey) -> Measurement | None:
        """The measurement of just that workload, target, device and versions, if there is one."""
        with _explained(self.path):
            row = self._connection.execute(_SELECT, astuple(key)).fetchone()
        if row is None:
            return None
        *timed, energy = row
        known = None if energy is None else Energy(**json.loads(energy))
        return replace(Measurement(*timed), energy=known)

    def put(self, key: CostKey, measurement: Measurement) -> None:
        """Store it in place of an older one; a process killed right afterwards loses nothing."""
        *timed, _ = astuple(measurement)
        energy = None if measurement.energy is None else json.dumps(asdict(measurement.energy))
        row = (*astuple(key), *timed, energy, time.time())
        with _explained(self.path):
            self._connection.execute(_INSERT, row)

    def get_transfer(self, key: PairKey) -> Transfer | None:
        """What crossings cost just that pair of devices, if it was measured."""
        with _explained(self.path):
            row = self._connection.execute(
                f"SELECT transfer FROM transfers WHERE {_PAIR}", astuple(key)
            ).fetchone()
        return None if row is None else Transfer(**json.loads(row[0]))

    def put_transfer(self, key: PairKey, transfer: Transfer) -> None:
        """Store it in place of an older one, with the time."""
        row = (*astuple(key), json.dumps(asdict(transfer)), time.time())
        with _explained(self.path):
            self._connection.execute("INSERT OR REPLACE INTO transfers VALUES (?, ?, ?, ?, ?)", row)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


@dataclass(frozen=True)
class DatabaseFile:
    """What a file says of itself: its format, and how many rows each of its tables has."""

    format: int
    rows: Mapping[str, int]


def look_into(path: Path) -> DatabaseFile:
    """Read a file and leave it as it is; CostError as of `CostDatabase.open`."""
    with _explained(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", _PATIENCE_S, uri=True)
        with closing(connection):
            schema = _schema(path, connection)
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            rows = {name: _value(connection, f"SELECT count(*) FROM {name}") for (name,) in names}
    return DatabaseFile(schema, rows)


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Make the table in an empty file, bring an older one up; refuse a file that is not ours."""
    connection.execute("BEGIN IMMEDIATE")  # of two processes that create it, one waits here
    try:
        questions = ("PRAGMA application_id", "SELECT count(*) FROM sqlite_master")
        if not any(_value(connection, question) for question in questions):
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute("PRAGMA user_version = 1")
        schema = _schema(path, connection)
        if schema < _SCHEMA:
            _bring_up(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _schema(path: Path, connection: sqlite3.Connection) -> int:
    """The format of a file; CostError when it is not ours, or newer."""
    schema = _value(connection, "PRAGMA user_version")
    if _value(connection, "PRAGMA application_id") != _APPLICATION_ID:
        raise CostError(f"{path} is not a measurement database; choose another with --costs")
    if not 1 <= schema <= _SCHEMA:
        raise CostError(
            f"{path} was written by another version of jointdnn (format {schema}, this one "
            f"has {_SCHEMA}); upgrade, or choose another file with --costs"
        )
    return schema


def _value(connection: sqlite3.Connection, question: str) -> int:
    return int(connection.execute(question).fetchone()[0])


def _bring_up(connection: sqlite3.Connection) -> None:
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(measurements)")}
    for name, kind in _LATER.items():
        if name not in columns:
            connection.execute(f"ALTER TABLE measurements ADD COLUMN {name} {kind}")
    connection.execute(_TRANSFERS)
    connection.execute(f"PRAGMA user_version = {_SCHEMA}")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise CostError(
            f"the measurement database {path} cannot be used ({error}); choose another with "
            f"--costs, or remove it to measure again"
        ) from error
