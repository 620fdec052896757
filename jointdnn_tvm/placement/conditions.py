"""What a plan may have to do with: the link's rates and round trip, and the cloud's load."""

from __future__ import annotations

from dataclasses import replace

from jointdnn_tvm.placement.plan_table import at_condition
from jointdnn_tvm.placement.problem import CLOUD, Problem

CONDITIONS = ("uplink_bps", "downlink_bps", "rtt_s", "slowdown")
"""In bit/s, bit/s, s, and a factor on the latencies of all that the cloud runs."""


def present_value(problem: Problem, condition: str) -> float:
    """The value that a problem has."""
    return 1.0 if condition == "slowdown" else float(getattr(problem.link, condition))


def with_value(problem: Problem, condition: str, value: float) -> Problem:
    """The problem with another value of one condition."""
    if condition != "slowdown":
        return replace(problem, link=replace(problem.link, **{condition: value}))
    blocks = tuple(
        replace(block, latency_s=block.latency_s * value) if block.side == CLOUD else block
        for block in problem.blocks
    )
    return replace(at_condition(problem, problem.link, value), blocks=blocks)
