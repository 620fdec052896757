"""Problem files: one result a file or a line, and one clear line for a bad one, exit 1."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import Command

GOOD: dict[str, Any] = {
    "format": "jointdnn-problem/1",
    "operators": [
        {"name": "a", "mobile": {"latency_s": 0.01}, "cloud": {"latency_s": 0.001}},
        {"name": "b", "mobile": {"latency_s": 0.02}, "cloud": {"latency_s": 0.002}},
    ],
    "tensors": [
        {"name": "x", "producer": None, "consumers": ["a"], "size_bytes": 1000},
        {"name": "t", "producer": "a", "consumers": ["b"], "size_bytes": 100},
        {"name": "y", "producer": "b", "consumers": [], "size_bytes": 4, "output": True},
    ],
    "link": {"uplink_bps": 1e6, "downlink_bps": 1e6},
}

BAD: dict[str, tuple[str, Any, str]] = {
    "wrong version": ("format", "jointdnn-problem/9", "this version reads 'jointdnn-problem/1'"),
    "unknown operator": ("tensors.1.consumers", ["z"], "tensor 't' names operator 'z', which is"),
    "cycle": ("tensors.2.consumers", ["a"], "consumer 'a' is not later than producer 'b'; list"),
    "self": ("tensors.1.consumers", ["a"], "consumer 'a' is not later than producer 'a'; list"),
    "negative": ("operators.0.mobile.latency_s", -1, "mobile.latency_s is -1: use a finite number"),
    "NaN": ("operators.0.mobile.energy_j", float("nan"), "mobile.energy_j is NaN: use a finite"),
    "infinite": ("operators.1.cloud.latency_s", float("inf"), "cloud.latency_s is infinite: use"),
    "zero rate": ("link.uplink_bps", 0, "link: uplink_bps is 0: a rate must be above 0"),
    "name twice": ("operators.1.name", "a", "operator name 'a' is used twice: names must be uniq"),
    "tensor twice": ("tensors.1.name", "x", "tensor name 'x' is used twice: names must be unique"),
    "objective": ("objective", "speed", "objective is 'speed': use latency or energy or throughp"),
    "limit": ("limits", {"max_watts": 1}, "limits has an unknown key 'max_watts': known are max_"),
    "nowhere": ("operators.1", {"name": "b"}, "operator 'b' can run nowhere: give it a mobile or"),
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good problem with one value changed."""
    document = copy.deepcopy(GOOD)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = document
    for part in parents:
        place = place[part]
    place[last] = value
    return document


def branching_with_blocks() -> dict[str, Any]:
    document = changed("tensors.0.consumers", ["a", "b"])
    block = {"side": "cloud", "first": "a", "last": "b", "latency_s": 0.002}
    return {**document, "blocks": [block]}


@pytest.mark.parametrize("verb", ["plan", "explain"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_problem_is_one_line(name: str, verb: str, tmp_path: Path, jointdnn: Command) -> None:
    key, value, told = BAD[name]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(changed(key, value)))
    line = jointdnn(verb, "--problem", path, "--json").complaint
    assert line.startswith(f"{path}: ")
    assert told in line


def test_blocks_on_branches_are_one_line(tmp_path: Path, jointdnn: Command) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(branching_with_blocks()))
    line = jointdnn("plan", "--problem", path).complaint
    assert line == (
        f"{path}: blocks need operators in a chain, each reading only the one before it: remove "
        "them"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not JSON: Expecting value at character 0"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"[" * 100000, "is not JSON that can be read: it is too deep or too long"),
        (b"[]", "p.json: a problem must be a JSON object, not a list"),
        (b'{"format": 1}', "format is 1: this version reads 'jointdnn-problem/1'"),
    ],
)
def test_what_is_no_problem(content: bytes, told: str, tmp_path: Path, jointdnn: Command) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(content)
    assert told in jointdnn("plan", "--problem", path).complaint


def test_a_file_that_is_not_there(tmp_path: Path, jointdnn: Command) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        assert "cannot read problem" in jointdnn("plan", "--problem", path).complaint


@pytest.mark.parametrize(("verb", "key"), [("plan", "placement"), ("explain", "moves")])
def test_bad_lines_do_not_stop_the_rest(
    verb: str, key: str, tmp_path: Path, jointdnn: Command
) -> None:
    documents = [GOOD, branching_with_blocks(), *(changed(k, v) for k, v, _ in BAD.values())]
    clash = {**GOOD, "limits": {"max_latency_s": 1e-6}}
    lines = [json.dumps(d) for d in [*documents, clash]]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join([*lines, "", "{oops", lines[0]]) + "\n")
    ended = jointdnn(verb, "--problem", path, "--json")
    assert ended.code == 0
    results = [json.loads(line) for line in ended.out.splitlines()]
    bad = len(BAD) + 1
    expected = ["optimal", *["error"] * bad, "infeasible", "error", "optimal"]
    assert [result["status"] for result in results] == expected
    assert results[0][key]
    assert results[-1][key]
    for number, result, (_, _, told) in zip(range(3, 100), results[2:], BAD.values(), strict=False):
        assert result == {"status": "error", "error": result["error"]}
        assert result["error"].startswith(f"line {number}: ")
        assert told in result["error"]
    assert results[-2]["error"].startswith(f"line {len(lines) + 2} is not JSON: ")
    assert f"{bad + 1} line(s) could not be solved" in ended.err


def test_lines_for_people(tmp_path: Path, jointdnn: Command) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n[]\n")
    told = jointdnn("plan", "--problem", path).out.splitlines()
    assert told[0].startswith("1: optimal: objective ")
    assert told[1] == "2: error: line 2: a problem must be a JSON object, not a list"


def test_limits_of_a_file_stand_in_it(tmp_path: Path, jointdnn: Command) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(GOOD))
    for verb in ("plan", "explain"):
        line = jointdnn(verb, "--problem", path, "--max-cloud-ms", "3").complaint
        assert line == "a problem file has its own limits: write them there"
        assert "give either a MODEL or --problem FILE" in jointdnn(verb).complaint
