"""What a given placement costs: the definition that every solver is judged by.

Nothing here is shared with the solvers. Each metric is one correctly rounded sum
(`math.fsum`) of its terms, so it does not depend on the order of operators or tensors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from jointdnn_tvm.placement.problem import CLOUD, MOBILE, Problem, SideCost, Tensor, check_sides


@dataclass(frozen=True)
class Metrics:
    """A placement's predicted cost for one query, and what crosses the link."""

    latency_s: float
    energy_j: float
    cloud_s: float
    mobile_bytes: float
    error: float
    bottleneck_s: float
    switches: int
    up: tuple[str, ...]
    down: tuple[str, ...]

    def objective(self, name: str) -> float:
        """The metric that an objective minimises."""
        return {"latency": self.latency_s, "energy": self.energy_j}[name]


def evaluate(problem: Problem, placement: Mapping[str, str]) -> Metrics:
    """Cost of a placement; raises `ProblemError` when it misses an operator or cannot run."""
    sides = check_sides(problem, placement)
    link = problem.link
    mobile = _costs_on(problem, sides, MOBILE)
    cloud = _costs_on(problem, sides, CLOUD)
    up = [tensor for tensor in problem.tensors if _goes_up(tensor, sides)]
    down = [tensor for tensor in problem.tensors if _goes_down(tensor, sides, problem)]
    up_s = [link.upload_s(tensor.size_bytes) for tensor in up]
    down_s = [link.download_s(tensor.size_bytes) for tensor in down]
    mobile_s = [cost.latency_s for cost in mobile]
    cloud_s = [cost.latency_s for cost in cloud]
    switches = _count_switches(problem, sides)
    waits_s = [link.rtt_s / 2] * switches
    return Metrics(
        latency_s=math.fsum(mobile_s + cloud_s + up_s + down_s + waits_s),
        energy_j=math.fsum(
            [cost.energy_j for cost in mobile]
            + [link.transmit_w * seconds for seconds in up_s]
            + [link.receive_w * seconds for seconds in down_s]
            + [link.idle_w * seconds for seconds in cloud_s + waits_s]
        ),
        cloud_s=math.fsum(cloud_s),
        mobile_bytes=sum(cost.memory_bytes for cost in mobile),
        error=0.0,
        bottleneck_s=max(map(math.fsum, (mobile_s, up_s, cloud_s, down_s))),
        switches=switches,
        up=tuple(tensor.name for tensor in up),
        down=tuple(tensor.name for tensor in down),
    )


def _costs_on(problem: Problem, sides: Mapping[str, str], side: str) -> list[SideCost]:
    chosen = (
        operator.mobile if side == MOBILE else operator.cloud
        for operator in problem.operators
        if sides[operator.name] == side
    )
    return [cost for cost in chosen if cost is not None]


def _goes_up(tensor: Tensor, sides: Mapping[str, str]) -> bool:
    starts = MOBILE if tensor.producer is None else sides[tensor.producer]
    return starts == MOBILE and any(sides[name] == CLOUD for name in tensor.consumers)


def _goes_down(tensor: Tensor, sides: Mapping[str, str], problem: Problem) -> bool:
    if tensor.producer is None or sides[tensor.producer] == MOBILE:
        return False
    must_end_there = tensor.output and problem.ends_on_mobile
    return must_end_there or any(sides[name] == MOBILE for name in tensor.consumers)


def _count_switches(problem: Problem, sides: Mapping[str, str]) -> int:
    walk = [sides[operator.name] for operator in problem.operators]
    if problem.starts_on_mobile:
        walk.insert(0, MOBILE)
    if problem.ends_on_mobile:
        walk.append(MOBILE)
    return sum(here != there for here, there in itertools.pairwise(walk))
