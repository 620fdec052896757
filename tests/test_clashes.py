"""Limits that clash, worked out by hand; random ones are judged in test_milp."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import InfeasibleError, Limits, Link, Operator, Problem, SideCost
from jointdnn_tvm.placement.clashes import find_clashes
from jointdnn_tvm.placement.milp import solve_with_limits
from tests.test_solve import densenet_like

# Mobile: 4 s, 8 J each; cloud: 1 s each. The input is 1 s up, at 3 W, and goes to both.
PROBLEM = Problem.from_json(
    {
        "format": "jointdnn-problem/1",
        "operators": [
            {"name": n, "mobile": {"latency_s": 4, "energy_j": 8}, "cloud": {"latency_s": 1}}
            for n in "ab"
        ],
        "tensors": [{"name": "x", "producer": None, "consumers": ["a", "b"], "size_bytes": 1000}],
        "link": {"uplink_bps": 8000, "downlink_bps": 8000, "transmit_w": 3},
        "outputs_on": "any",
    }
)


def _refused(limits: Limits) -> InfeasibleError:
    with pytest.raises(InfeasibleError) as caught:
        solve_with_limits(replace(PROBLEM, limits=limits))
    return caught.value


def test_one_limit_that_nothing_meets() -> None:
    error = _refused(Limits(max_latency_s=2.5, max_energy_j=100, max_cloud_s=100))
    assert str(error) == "no placement meets max_latency_s 2.5: raise max_latency_s to 3"


def test_two_limits_that_clash_and_one_that_does_not_matter() -> None:
    # at most 1 s of the cloud leaves at least one operator on the mobile: 4 + 1 + 1 s, 8 + 3 J
    error = _refused(Limits(max_latency_s=5, max_cloud_s=1, max_energy_j=20))
    assert {clash.limit: clash.value for clash in error.clashes} == {
        "max_latency_s": 5,
        "max_cloud_s": 1,
    }
    assert [clash.least for clash in error.clashes] == pytest.approx([6, 2])


def test_a_deadline_with_spreads() -> None:
    operator = Operator("a", SideCost(1.0, spread_s=0.5), None)
    problem = Problem((operator,), (), Link(1, 1))
    limits = Limits(max_latency_s=1.5, latency_sigmas=2)
    with pytest.raises(InfeasibleError) as caught:
        solve_with_limits(
            replace(problem, operators=(operator, replace(operator, name="b")), limits=limits)
        )
    (clash,) = caught.value.clashes
    assert clash.least == pytest.approx(2 + 2 * 0.5 * 2**0.5)


def test_no_time_is_one_clear_line() -> None:
    problem = replace(densenet_like(0), limits=Limits(max_latency_s=0.2, max_cloud_s=0.1))
    with pytest.raises(ProblemError, match="the time was up before it was clear which of them"):
        find_clashes(problem, until=time.monotonic())
