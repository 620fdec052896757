"""Where the best plan changes, told by the link's own rates and round trip."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from jointdnn_tvm.cli.own_conditions import with_own_conditions
from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.placement import Limits, Link, evaluate, explain, solve
from jointdnn_tvm.planning import Plan
from jointdnn_tvm.targets import load_link, load_target
from tests.test_explain import PROBLEM


def over_a_link(spec: str, transfer: Transfer, limits: Limits = PROBLEM.limits) -> Plan:
    """The plan of the problem worked out by hand, over that link."""
    profile = load_link(spec)
    link = Link(profile.uplink_bps, profile.downlink_bps, profile.rtt_s)
    problem = replace(PROBLEM, link=transfer.over(link, busy_w=0), limits=limits)
    host = load_target("host")
    return Plan(problem, solve(problem), {}, host, host, profile, {}, 0, transfer)


def test_conditions_are_the_links_own() -> None:
    """Crossings take 0.2 us a byte more than the link: to them none is faster than 40 Mbit/s."""
    plan = over_a_link("up=1e7,down=1e7,rtt=0.02", Transfer(0.01, 2e-7, 2e-7, 1e9, 1e9))
    explanation = explain(plan.problem, plan.answer).to_json()
    found = with_own_conditions(explanation, plan)
    for condition, present in (("uplink_bps", 1e7), ("downlink_bps", 1e7), ("rtt_s", 0.02)):
        regions = found["changes"][condition]
        (here,) = (region for region in regions if region["present"])
        assert here["least"] <= present <= here["most"]
        for before, after in itertools.pairwise(regions):
            assert before["most"] == after["least"]
    assert found["changes"]["uplink_bps"][-1]["most"] == 1e10
    assert found["changes"]["rtt_s"][0]["least"] == 0
    assert found["changes"]["slowdown"] == list(explanation["changes"]["slowdown"])
    assert with_own_conditions(explanation, replace(plan, transfer=None)) == explanation
    json.dumps(found, allow_nan=False)


def test_the_best_plan_changes_where_it_is_said_to_on_the_link_itself() -> None:
    transfer = Transfer(0.001, 2e-4, 2e-4, 1e9, 1e9)
    plan = over_a_link("up=8e3,down=16e3,rtt=0.2", transfer)
    found = with_own_conditions(explain(plan.problem, plan.answer).to_json(), plan)
    regions = found["changes"]["uplink_bps"]
    assert len(regions) > 1
    for region in regions[:-1]:
        for factor in (1 - 1e-6, 1 + 1e-6):
            rate_bps = factor * region["most"]
            there = over_a_link(f"up={rate_bps!r},down=16e3,rtt=0.2", transfer)
            kept = evaluate(there.problem, region["placement"], region["codecs"])
            is_best = kept.latency_s == pytest.approx(there.answer.latency_s, rel=1e-9)
            assert is_best == (factor < 1)


def test_samples_are_the_links_own() -> None:
    transfer = Transfer(0.01, 2e-7, 2e-7, 1e9, 1e9)
    plan = over_a_link("up=1e8,down=1e7,rtt=0.02", transfer, Limits(max_cloud_s=100.0))
    explanation = explain(plan.problem, plan.answer).to_json()
    found = with_own_conditions(explanation, plan)["samples"]
    half, _ = (sample["value"] for sample in explanation["samples"]["uplink_bps"])
    (own,) = found["uplink_bps"]  # no link is twice as fast to them
    assert 8 / own["value"] + 2e-7 == pytest.approx(8 / half)
    assert [sample["value"] for sample in found["rtt_s"]] == pytest.approx([0.005, 0.05])
