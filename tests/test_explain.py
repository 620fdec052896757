"""An explanation as a whole, and as a document."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from jointdnn_tvm.placement import (
    InfeasibleError,
    Limits,
    Link,
    Operator,
    Problem,
    SideCost,
    Tensor,
    explain,
    fixed_placement,
    solve,
)
from tests.random_problems import random_problem

# 1000 bytes are 8000 bits: 1 s up, 0.5 s down.
PROBLEM = Problem(
    operators=(
        Operator("a", SideCost(1.0, 4.0, 100), SideCost(0.25)),
        Operator("b", SideCost(9.0, 36.0, 50), SideCost(0.75)),
        Operator("c", SideCost(0.5, 2.0, 25), SideCost(0.125)),
    ),
    tensors=(
        Tensor("x", None, ("a",), 10000),
        Tensor("ab", "a", ("b",), 1000),
        Tensor("bc", "b", ("c",), 500),
        Tensor("y", "c", (), 8000, output=True),
    ),
    link=Link(8000, 16000, rtt_s=0.2, transmit_w=3.0, receive_w=2.0, idle_w=0.5),
)


def test_worked_out_by_hand() -> None:
    found = explain(PROBLEM)
    assert found.answer.placement == {"a": "mobile", "b": "cloud", "c": "mobile"}
    seconds = {name: part.latency_s for name, part in found.parts.items() if part.latency_s}
    assert seconds == pytest.approx(
        {"mobile": 1.5, "uplink": 1.0, "cloud": 0.75, "downlink": 0.25, "round_trips": 0.2}
    )
    assert found.bottleneck == "mobile"
    assert [(c.tensor, c.direction, c.link_s) for c in found.crossings] == [
        ("ab", "up", 1.0),
        ("bc", "down", 0.25),
    ]
    # all on the mobile takes 10.5 s: b's round trip is worth 1.2 s + 8000 bits a uplink second
    uplink = found.changes["uplink_bps"] if found.changes else ()
    assert [sorted(set(region.placement.values())) for region in uplink[:2]] == [
        ["mobile"],
        ["cloud", "mobile"],
    ]
    assert uplink[0].most == pytest.approx(8000 / (10.5 - (1.5 + 0.75 + 0.25 + 0.2)))
    assert found.baselines["mobile-only"].objective == 10.5
    assert found.baselines["mobile-only"].ratio == pytest.approx(10.5 / 3.7)


def test_a_limit_and_what_it_costs() -> None:
    limited = replace(PROBLEM, limits=Limits(max_cloud_s=0.5))
    found = explain(limited)
    use = found.limits["max_cloud_s"]
    assert set(found.answer.placement.values()) == {"mobile"}
    assert (use.taken, use.limit, use.share, use.binding) == (0.0, 0.5, 0.0, True)
    assert use.objective_without == solve(PROBLEM).objective
    assert found.changes is None
    (b,) = [move for move in found.moves if move.moved == ("b",)]
    assert b.result.why_not == "breaks max_cloud_s 0.5 (takes 0.75)"


def test_throughput_names_the_bottleneck() -> None:
    found = explain(replace(PROBLEM, objective="throughput"))
    assert found.busy_s[found.bottleneck] == found.answer.objective == found.optimum
    assert found.changes is None


def test_a_given_placement_is_measured_against_the_optimum() -> None:
    given = fixed_placement(PROBLEM, dict.fromkeys("abc", "mobile"))
    found = explain(PROBLEM, given)
    assert found.answer is given
    assert found.optimum == solve(PROBLEM).objective < given.objective
    assert min(m.result.change or 0 for m in found.moves) < 0


def test_limits_that_clash_have_no_explanation() -> None:
    with pytest.raises(InfeasibleError):
        explain(replace(PROBLEM, limits=Limits(max_latency_s=0.1)))


def test_as_a_document() -> None:
    for problem in (PROBLEM, random_problem(8, codecs=True)):
        found = explain(problem)
        document = json.loads(json.dumps(found.to_json()))
        assert document["format"] == "jointdnn-explanation/1"
        assert document["answer"]["placement"] == found.answer.placement
        assert set(document["changes"]) == {"uplink_bps", "downlink_bps", "rtt_s", "slowdown"}
        assert document["bottleneck"] in document["busy_s"]
        assert {m["to"] for m in document["moves"]} <= {"mobile", "cloud"}
