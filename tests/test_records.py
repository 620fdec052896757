"""Records on disk: whole, merged, and refused where they do not belong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.errors import CostError
from jointdnn_tvm.targets import load_target
from jointdnn_tvm.tuning import records
from jointdnn_tvm.tuning.records import Record, merge, read_records, remove, write_records

HOST = load_target("host")
A, B = Record({"rows": 3}, 0.9, "here"), Record({"rows": 4}, 0.8, "there")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    write_records(path, HOST, {"a": A, "b": B})
    assert read_records(path, HOST) == {"a": A, "b": B}
    assert [file.name for file in tmp_path.iterdir()] == ["records.json"]


def test_of_two_for_a_kernel_the_faster_stays(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "records.json"
    merge(path, HOST, {"a": A})
    assert merge(path, HOST, {"a": B, "b": A}) == {"a": B, "b": A}
    assert merge(path, HOST, {"a": A}) == read_records(path, HOST) == {"a": B, "b": A}
    remove(path, HOST, {"a": B})
    assert read_records(path, HOST) == {"b": A}


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path;"
        "from jointdnn_tvm.targets import load_target;"
        "from jointdnn_tvm.tuning.records import Record, merge;"
        "path, name = Path(sys.argv[1]), sys.argv[2]; host = load_target('host');"
        "[merge(path, host, {f'{name} {i}': Record({'rows': i}, 0.5, name)}) for i in range(40)]"
    )
    path = tmp_path / "records.json"
    words = [sys.executable, "-c", program, str(path)]
    processes = [subprocess.Popen([*words, name]) for name in "abc"]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(read_records(path, HOST)) == 120


def test_other_targets_and_versions_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "records.json"
    write_records(path, HOST, {"a": A})
    with pytest.raises(CostError, match=r"was tuned for other target, .* tune again with"):
        read_records(path, load_target("raspberry-pi-5"))
    with pytest.raises(CostError, match="7 registers"):
        read_records(path, replace(HOST, vector_registers=7))
    assert read_records(path, replace(HOST, cores=64, l2_bytes=1)) == {"a": A}
    monkeypatch.setattr(records, "kernels_digest", lambda: "other")
    with pytest.raises(CostError, match=r"other versions, .* kernels other"):
        read_records(path, HOST)


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(key)


def _entry(**changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["kernels"]["a"].update(changed)


@pytest.mark.parametrize(
    "damage",
    [
        _without("format"),
        _without("kernels"),
        _entry(choice={"rows": "3"}),
        _entry(choice={"rows": True}),
        _entry(choice=3),
        _entry(share=0),
        _entry(share=float("nan")),
        _entry(share="fast"),
        lambda document: document["kernels"].update(a=[]),
    ],
)
def test_damage_is_told(tmp_path: Path, damage: Callable[[dict[str, Any]], None]) -> None:
    path = tmp_path / "records.json"
    write_records(path, HOST, {"a": A})
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))
    with pytest.raises(CostError, match=r"is no file of tuned kernels: .*; export it again"):
        read_records(path, HOST)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_something_else_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "records.json"
    path.write_bytes(content)
    with pytest.raises(CostError, match="is no file of tuned kernels"):
        read_records(path, HOST)


def test_targets_come_with_the_records_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    monkeypatch.setattr(records, "_SHIPPED", shipped)
    assert records.tuned_target("host").tuned == {}
    write_records(shipped / "one.json", HOST, {"a": A, "c": A})
    write_records(shipped / "other.json", load_target("raspberry-pi-5"), {"d": A})
    assert records.tuned_target("host").tuned == {"a": {"rows": 3}, "c": {"rows": 3}}
    merge(records.own_path(HOST), HOST, {"a": B})
    assert records.tuned_target("host").tuned == {"a": {"rows": 4}, "c": {"rows": 3}}
    assert records.tuned_target("cuda-sm90").tuned == {}
    records.own_path(HOST).write_text("{")
    with pytest.raises(CostError, match="is no file of tuned kernels"):
        records.tuned_target("host")


def test_shipped_records_are_whole() -> None:
    for path in records._SHIPPED.glob("*.json"):
        document = records._read(path)
        assert all(records._record(path, k, told) for k, told in document["kernels"].items())
