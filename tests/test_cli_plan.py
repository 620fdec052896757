"""`jointdnn plan --problem` and `jointdnn targets`, through their verb modules."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.cli import plan, targets
from jointdnn_tvm.errors import ProblemError, ProfileError
from jointdnn_tvm.placement import Link, Operator, Problem, SideCost, Tensor

DOCUMENT = Problem(
    (
        Operator("conv1", SideCost(0.01, 0.02), SideCost(0.001)),
        Operator("dense", None, SideCost(0.002)),
    ),
    (Tensor("x", None, ("conv1",), 602112), Tensor("t", "conv1", ("dense",), 9)),
    Link(5.85e6, 13.76e6, rtt_s=0.05, transmit_w=3.85),
).to_json()


def arguments(verb: Any, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    verb.add_arguments(parser)
    return parser.parse_args(words)


def test_one_problem_gives_one_answer(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(DOCUMENT))
    answer = plan.run(arguments(plan, "--problem", str(path)))
    assert answer is not None
    assert answer["status"] == "optimal"
    text = plan.render(answer)
    assert text.startswith("optimal: objective ")
    assert "dense  cloud" in text


def test_limits_that_clash_are_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({**DOCUMENT, "limits": {"max_cloud_s": 0.001}}))
    answer = plan.run(arguments(plan, "--problem", str(path)))
    assert answer is not None
    assert answer["status"] == "infeasible"
    assert answer["limits"] == {"max_cloud_s": {"value": 0.001, "least": 0.002}}
    assert plan.render(answer).startswith("infeasible: no placement meets max_cloud_s 0.001: raise")


def test_a_limit_that_binds(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({**DOCUMENT, "limits": {"max_cloud_s": 0.002}}))
    answer = plan.run(arguments(plan, "--problem", str(path)))
    assert answer is not None
    assert answer["placement"] == {"conv1": "mobile", "dense": "cloud"}
    assert (answer["status"], answer["solver"]) == ("optimal", "chain")


def test_a_line_each_and_bad_lines_do_not_stop_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = json.dumps({**DOCUMENT, "objective": "energy"})
    bad = json.dumps({**DOCUMENT, "objective": "speed"})
    path = tmp_path / "p.jsonl"
    path.write_text(f"{good}\n\n{{oops\n{bad}\n{good}\n")
    assert plan.run(arguments(plan, "--problem", str(path), "--json")) is None
    printed = capsys.readouterr()
    answers = [json.loads(line) for line in printed.out.splitlines()]
    assert [answer["status"] for answer in answers] == ["optimal", "error", "error", "optimal"]
    assert answers[1]["error"].startswith("line 3 is not JSON: ")
    assert (
        answers[2]["error"] == "line 4: objective is 'speed': use latency or energy or throughput"
    )
    assert "2 line(s) could not be solved" in printed.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON: Expecting value"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"[" * 100000, "is not JSON"),
        (b"[]", "p.json: a problem must be a JSON object, not a list"),
        (b'{"format": 1}', "format is 1: this version reads 'jointdnn-problem/1'"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(content)
    with pytest.raises(ProblemError) as caught:
        plan.run(arguments(plan, "--problem", str(path)))
    assert message in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ProblemError, match="cannot read problem"):
            plan.run(arguments(plan, "--problem", str(path)))


def test_targets_lists_and_prints() -> None:
    everything = targets.run(arguments(targets))
    assert "raspberry-pi-4" in everything["targets"]
    assert "  lan-1g " in targets.render(everything)
    board = targets.run(arguments(targets, "raspberry-pi-4"))
    assert "mcpu: cortex-a72" in targets.render(board)
    link = targets.run(arguments(targets, "4g"))
    assert link["transmit_w"] > 3
    with pytest.raises(ProfileError, match=r"unknown profile 'x'.*lan-1g"):
        targets.run(arguments(targets, "x"))
