"""`jointdnn plan --problem` and `jointdnn targets`, through their verb modules."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.cli import plan, targets
from jointdnn_tvm.errors import ProfileError
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
    assert answer["status"] == "optimal"


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
