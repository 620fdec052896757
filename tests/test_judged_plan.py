"""What a plan takes of objectives and limits."""

from __future__ import annotations

from jointdnn_tvm.placement import Limits
from jointdnn_tvm.placement.judged_plan import judge
from tests.test_solve import PROBLEM


def test_a_plan_knows_its_values() -> None:
    plan = judge(PROBLEM, {"a": "mobile", "b": "cloud", "c": "mobile"}, {})
    assert plan.value("latency") == plan.metrics.latency_s
    assert plan.value("max_cloud_s") == 0.75


def test_a_limit_is_met_up_to_rounding() -> None:
    plan = judge(PROBLEM, {"a": "mobile", "b": "cloud", "c": "mobile"}, {})
    assert plan.within(Limits(max_cloud_s=0.75, max_mobile_bytes=125 * (1 - 1e-10)))
    assert not plan.within(Limits(max_cloud_s=0.75, max_mobile_bytes=125 * (1 - 1e-8)))
