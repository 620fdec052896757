import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jointdnn_tvm.cost.database import CostDatabase, CostKey, Measurement, default_path
from jointdnn_tvm.errors import CostError

KEY = CostKey("conv:1234", "llvm -mcpu=cortex-a72", "raspberry", "tvm 0.27")
TIMED = Measurement(0.00123, 1e-5, 5, None, "measured:time_evaluator")
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


def test_whether_it_is_steady() -> None:
    known = [Measurement(1e-3, 1e-5, 6, None, "measured", i) for i in (None, 3e-5, 2e-5, 0.0)]
    assert [m.steady for m in known] == [False, False, True, True]
    assert not FAILED.steady


def test_a_file_of_the_format_before_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "costs"
    with CostDatabase.open(path) as database:
        database.put(KEY, TIMED)
    _sqlite(path, "ALTER TABLE measurements DROP COLUMN interval_s", "PRAGMA user_version = 1")
    with CostDatabase.open(path) as database:
        assert database.get(KEY) == TIMED
        timed = Measurement(2.0, 0.0, 6, None, "measured", 0.5)
        database.put(KEY, timed)
        assert database.get(KEY) == timed
    CostDatabase.open(path).close()


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
