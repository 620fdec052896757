import json
import sqlite3
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from jointdnn_tvm.cost.database import (
    CostDatabase,
    CostKey,
    DatabaseFile,
    Energy,
    Measurement,
    PairKey,
    default_path,
    look_into,
)
from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.errors import CostError

KEY = CostKey("conv:1234", "llvm -mcpu=cortex-a72", "raspberry", "tvm 0.27")
TIMED = Measurement(0.00123, 1e-5, 5, None, "measured:time_evaluator")
ENERGY = Energy(0.006, 2.5, 1.1, 110, None, "measured:ina3221 VDD_IN")
FAILED = Measurement.failure("no\nmemory ", "measured:time_evaluator")


def test_keeps_measurements(tmp_path: Path) -> None:
    path = tmp_path / "a" / "costs.sqlite"
    with CostDatabase.open(path) as database:
        assert database.get(KEY) is None
        database.put(KEY, FAILED)
        assert database.get(KEY) == FAILED
        database.put(KEY, TIMED)
    with CostDatabase.open(str(path)) as database:
        assert database.get(KEY) == TIMED


def test_every_part_of_the_key_counts(tmp_path: Path) -> None:
    with CostDatabase.open(tmp_path / "costs.sqlite") as database:
        database.put(KEY, TIMED)
        for name in ("workload", "target", "device", "versions"):
            other = CostKey(**{**vars(KEY), name: "other"})
            assert database.get(other) is None


def test_keeps_energy(tmp_path: Path) -> None:
    energies = (
        ENERGY,
        Energy.failure("the sensor\nis gone", "measured:ina3221 VDD_IN"),
    )
    assert energies[1].reason == "the sensor is gone"
    with CostDatabase.open(tmp_path / "costs.sqlite") as database:
        for energy in energies:
            measurement = replace(TIMED, interval_s=2e-5, energy=energy)
            database.put(KEY, measurement)
            assert database.get(KEY) == measurement


OLD_TABLE = """CREATE TABLE measurements (
workload TEXT NOT NULL, target TEXT NOT NULL, device TEXT NOT NULL, versions TEXT NOT NULL,
latency_s REAL, spread_s REAL NOT NULL, repeats INTEGER NOT NULL, reason TEXT,
source TEXT NOT NULL, measured_at REAL NOT NULL,
PRIMARY KEY (workload, target, device, versions)) WITHOUT ROWID"""
OLD_ROW = "('conv:1234', 'llvm -mcpu=cortex-a72', 'raspberry', 'tvm 0.27', 0.00123, 1e-5, 5, NULL"


@pytest.mark.parametrize(
    ("schema", "column", "value", "expected"),
    [
        (1, None, None, TIMED),
        (2, "energy TEXT", json.dumps(asdict(ENERGY)), replace(TIMED, energy=ENERGY)),
        (2, "interval_s REAL", 2e-5, replace(TIMED, interval_s=2e-5)),
    ],
)
def test_an_older_file_is_brought_up(
    tmp_path: Path, schema: int, column: str | None, value: object, expected: Measurement
) -> None:
    path = tmp_path / "costs.sqlite"
    _sqlite(
        path,
        OLD_TABLE,
        f"INSERT INTO measurements VALUES {OLD_ROW}, 'measured:time_evaluator', 1.0)",
        f"PRAGMA application_id = {0x4A444342}",
        f"PRAGMA user_version = {schema}",
    )
    if column:
        name = column.split()[0]
        added, filled = f"ADD COLUMN {column}", f"SET {name} = '{value}'"
        _sqlite(path, f"ALTER TABLE measurements {added}", f"UPDATE measurements {filled}")
    before = path.read_bytes()
    assert look_into(path) == DatabaseFile(schema, {"measurements": 1})
    assert path.read_bytes() == before
    newer = replace(TIMED, interval_s=1e-5, energy=ENERGY)
    for stored in (expected, newer, newer):
        with CostDatabase.open(path) as database:
            assert database.get(KEY) == stored
            database.put(KEY, newer)


def test_what_crossings_cost_a_pair_of_devices(tmp_path: Path) -> None:
    slow = Transfer(1e-3, 2e-8, 3e-8, 5.85e6, 13.76e6, "measured:messages emulated slowdown 6x")
    fast = Transfer(2e-4, 1e-8, 1e-8, 1e9, 1e9)
    phone, other = PairKey("phone", "server", "tvm 0.27"), PairKey("server", "phone", "tvm 0.27")
    with CostDatabase.open(tmp_path / "costs.sqlite") as database:
        assert database.get_transfer(phone) is None
        database.put_transfer(phone, slow)
        database.put_transfer(other, fast)
    assert look_into(tmp_path / "costs.sqlite").rows == {"measurements": 0, "transfers": 2}
    with CostDatabase.open(tmp_path / "costs.sqlite") as database:
        assert database.get_transfer(phone) == slow
        assert database.get_transfer(other) == fast
        database.put_transfer(phone, fast)
        assert database.get_transfer(phone) == fast
        assert database.get_transfer(replace(phone, versions="tvm 0.28")) is None
    rows = sqlite3.connect(tmp_path / "costs.sqlite")
    (measured_at,) = rows.execute("SELECT measured_at FROM transfers LIMIT 1").fetchone()
    rows.close()
    assert 0 <= time.time() - measured_at < 600


def test_whether_it_is_steady() -> None:
    known = [Measurement(1e-3, 1e-5, 6, None, "measured", i) for i in (None, 3e-5, 2e-5, 0.0)]
    assert [m.steady for m in known] == [False, False, True, True]
    assert not FAILED.steady


def test_whether_a_sensor_told_of_it() -> None:
    told_nothing = Energy(None, 5.0, 1.1, 110, "not above its 5 W when idle", "measured:fake")
    energies = (None, Energy.failure("it is gone", "measured:fake"), told_nothing, ENERGY)
    assert [replace(TIMED, energy=e).has_energy for e in energies] == [False, False, True, True]


def test_a_reason_is_one_line() -> None:
    assert FAILED.reason == "no memory"
    assert FAILED.latency_s is None


PUT_MANY = """
import os, sys
from jointdnn_tvm.cost.database import CostDatabase, CostKey, Measurement
path, name, end = sys.argv[1:]
with CostDatabase.open(path) as database:
    for number in range(50):
        key = CostKey(f"{name}{number}", "t", "d", "v")
        database.put(key, Measurement(0.00123, 1e-5, 5, None, "measured:time_evaluator"))
    os._exit(int(end))
"""


def test_several_processes_at_once_that_end_without_closing(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"
    command = [sys.executable, "-c", PUT_MANY, str(path)]
    workers = [subprocess.Popen([*command, name, "9"]) for name in "abc"]
    assert [worker.wait() for worker in workers] == [9, 9, 9]
    with CostDatabase.open(path) as database:
        for name in "abc":
            for number in range(50):
                assert database.get(CostKey(f"{name}{number}", "t", "d", "v")) == TIMED


def _sqlite(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_refuses_what_is_not_ours(tmp_path: Path) -> None:
    text, other, newer = (tmp_path / name for name in ("text", "other", "newer"))
    text.write_text("not a database, " * 100)
    _sqlite(other, "CREATE TABLE addresses (name)")
    CostDatabase.open(newer).close()
    _sqlite(newer, "PRAGMA user_version = 99")
    complaints = {text: "cannot be used", other: "is not a measurement", newer: "format 99"}
    for path, complaint in complaints.items():
        before = path.read_bytes()
        with pytest.raises(CostError, match=f"{path} .*{complaint}.*--costs") as caught:
            CostDatabase.open(path)
        with pytest.raises(CostError, match=f"{path} .*{complaint}.*--costs"):
            look_into(path)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == before


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/proc/none/costs.sqlite")):
        with pytest.raises(CostError, match="cannot be used"):
            CostDatabase.open(path)


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "costs.sqlite"
    path.touch()
    CostDatabase.open(path).close()
    CostDatabase.open(path).close()


def test_is_quick(tmp_path: Path) -> None:
    start = time.perf_counter()
    with CostDatabase.open(tmp_path / "costs.sqlite") as database:
        for number in range(200):
            database.put(CostKey(str(number), "t", "d", "v"), TIMED)
    assert time.perf_counter() - start < 5


def test_default_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "jointdnn" / "costs.sqlite"
    CostDatabase.open().close()
    assert default_path().exists()
