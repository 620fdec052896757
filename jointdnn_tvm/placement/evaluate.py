"""What a given placement costs: the definition that every solver is judged by.

Nothing here is shared with the solvers. Each metric is one correctly rounded sum
(`math.fsum`) of its terms, so it does not depend on the order of operators or tensors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jointdnn_tvm.placement.check_problem import check_codecs_used, check_sides
from jointdnn_tvm.placement.problem import (
    CLOUD,
    MOBILE,
    PLAIN,
    Codec,
    Operator,
    Problem,
    Side,
    SideCost,
    Tensor,
)

_OBJECTIVES = {"latency": "latency_s", "energy": "energy_j", "throughput": "bottleneck_s"}
_LIMITED = {
    "max_latency_s": "deadline_s",
    "max_energy_j": "energy_j",
    "max_cloud_s": "cloud_s",
    "max_mobile_bytes": "mobile_bytes",
    "max_mobile_peak_bytes": "mobile_peak_bytes",
    "max_error": "error",
}


@dataclass(frozen=True)
class Metrics:
    """A placement's predicted cost for one query, and what crosses the link.

    ``deadline_s`` is the latency that the deadline holds for: the mean and as many standard
    deviations as the limits say. ``bottleneck_s`` is the time of the busiest of mobile, uplink,
    cloud and downlink: a stream of queries runs at one each ``bottleneck_s``.
    """

    latency_s: float
    deadline_s: float
    energy_j: float
    cloud_s: float
    mobile_bytes: float
    mobile_peak_bytes: float
    error: float
    bottleneck_s: float
    switches: int
    up: tuple[str, ...]
    down: tuple[str, ...]

    def objective(self, name: str) -> float:
        """The metric that an objective minimises."""
        value: float = getattr(self, _OBJECTIVES[name])
        return value

    def limited(self, limit: str) -> float:
        """The metric that a limit bounds."""
        value: float = getattr(self, _LIMITED[limit])
        return value


def evaluate(
    problem: Problem, placement: Mapping[str, str], codecs: Mapping[str, str] | None = None
) -> Metrics:
    """Cost of a placement whose crossing tensors use the codecs named, or else none.

    Raises `ProblemError` when it misses an operator, cannot run, or names an unknown codec.
    """
    sides = check_sides(problem, placement)
    chosen = check_codecs_used(problem, codecs or {})
    link = problem.link
    up = [tensor for tensor in problem.tensors if _goes_up(tensor, sides)]
    down = [tensor for tensor in problem.tensors if _goes_down(tensor, sides, problem)]
    up_codecs = [tensor.encoding(chosen.get(tensor.name, PLAIN)) for tensor in up]
    down_codecs = [tensor.encoding(chosen.get(tensor.name, PLAIN)) for tensor in down]
    up_s = [link.upload_s(codec.size_bytes) for codec in up_codecs]
    down_s = [link.download_s(codec.size_bytes) for codec in down_codecs]
    mobile, cloud = _costs_on(problem, sides, MOBILE), _costs_on(problem, sides, CLOUD)
    mobile_s, cloud_s = [cost.latency_s for cost in mobile], [cost.latency_s for cost in cloud]
    if problem.blocks:
        mobile_s, cloud_s = (run_seconds(problem, sides, side) for side in (MOBILE, CLOUD))
    mobile_codec_s = _codec_seconds(MOBILE, up_codecs, down_codecs)
    cloud_codec_s = _codec_seconds(CLOUD, down_codecs, up_codecs)
    switches = _count_switches(problem, sides)
    waits_s = [link.rtt_s / 2] * switches
    latency_s = math.fsum(
        mobile_s + cloud_s + up_s + down_s + mobile_codec_s + cloud_codec_s + waits_s
    )
    spread_s = math.sqrt(math.fsum(cost.spread_s**2 for cost in mobile + cloud))
    resident_bytes = sum(cost.memory_bytes for cost in mobile) + 2 * sum(
        tensor.size_bytes for tensor in problem.tensors if _is_at_home(tensor, sides)
    )
    return Metrics(
        latency_s=latency_s,
        deadline_s=latency_s + problem.limits.latency_sigmas * spread_s,
        energy_j=math.fsum(
            [cost.energy_j for cost in mobile]
            + [codec.encode_j for codec in up_codecs]
            + [codec.decode_j for codec in down_codecs]
            + [link.transmit_w * seconds for seconds in up_s]
            + [link.receive_w * seconds for seconds in down_s]
            + [link.idle_w * seconds for seconds in cloud_s + waits_s]
            + [link.tail_j / 2] * switches
        ),
        cloud_s=math.fsum(cloud_s),
        mobile_bytes=resident_bytes,
        mobile_peak_bytes=resident_bytes + _most_held_bytes(problem, sides),
        error=math.fsum(codec.error for codec in up_codecs + down_codecs),
        bottleneck_s=max(
            map(math.fsum, (mobile_s + mobile_codec_s, up_s, cloud_s + cloud_codec_s, down_s))
        ),
        switches=switches,
        up=tuple(tensor.name for tensor in up),
        down=tuple(tensor.name for tensor in down),
    )


def _costs_on(problem: Problem, sides: Mapping[str, Side], side: Side) -> list[SideCost]:
    return [_cost(o, side) for o in problem.operators if sides[o.name] == side]


def _cost(operator: Operator, side: Side) -> SideCost:
    cost = operator.cost(side)
    assert cost is not None, "checked"
    return cost


def run_seconds(problem: Problem, sides: Mapping[str, Side], side: Side) -> list[float]:
    """Latencies of the operators on a side, those of a run with a block as one."""
    blocks = {(b.first, b.last): b.latency_s for b in problem.blocks if b.side == side}
    seconds: list[float] = []
    for on, run in itertools.groupby(problem.operators, key=lambda o: sides[o.name]):
        if on != side:
            continue
        operators = list(run)
        block_s = blocks.get((operators[0].name, operators[-1].name))
        alone_s = [_cost(operator, side).latency_s for operator in operators]
        seconds += alone_s if block_s is None else [block_s]
    return seconds


def _codec_seconds(side: Side, encoded: Iterable[Codec], decoded: Iterable[Codec]) -> list[float]:
    encode_s = [float(getattr(codec.encode_s, side)) for codec in encoded]
    return encode_s + [float(getattr(codec.decode_s, side)) for codec in decoded]


def _goes_up(tensor: Tensor, sides: Mapping[str, Side]) -> bool:
    starts = MOBILE if tensor.producer is None else sides[tensor.producer]
    return starts == MOBILE and any(sides[name] == CLOUD for name in tensor.consumers)


def _goes_down(tensor: Tensor, sides: Mapping[str, Side], problem: Problem) -> bool:
    if tensor.producer is None or sides[tensor.producer] == MOBILE:
        return False
    must_end_there = tensor.output and problem.ends_on_mobile
    return must_end_there or any(sides[name] == MOBILE for name in tensor.consumers)


def _count_switches(problem: Problem, sides: Mapping[str, Side]) -> int:
    walk = [sides[operator.name] for operator in problem.operators]
    if problem.starts_on_mobile:
        walk.insert(0, MOBILE)
    if problem.ends_on_mobile:
        walk.append(MOBILE)
    return sum(here != there for here, there in itertools.pairwise(walk))


def _most_held_bytes(problem: Problem, sides: Mapping[str, Side]) -> float:
    """The most that tensors take at once on the mobile, over the steps of execution.

    The mobile holds what it makes (or gets as an input) from that step on, and what it downloads
    from its first reader there on; until the last reader there, or to the end for an output that
    it hands out. What is uploaded leaves in the step that makes it. What is carried there is
    resident instead; and when it comes from the cloud, there is a value of it all the time.
    """
    last = len(problem.operators) - 1
    changes = [0.0] * (last + 2)
    for tensor in problem.tensors:
        held = _held(problem, tensor, sides)
        if held is not None:
            changes[held[0]] += tensor.size_bytes
            changes[held[1] + 1] -= tensor.size_bytes
    return max(itertools.accumulate(changes))


def _is_at_home(tensor: Tensor, sides: Mapping[str, Side]) -> bool:
    """Whether it is carried and lives on the mobile."""
    return tensor.carried and tensor.producer is not None and sides[tensor.producer] == MOBILE


def _held(problem: Problem, tensor: Tensor, sides: Mapping[str, Side]) -> tuple[int, int] | None:
    """The first and the last step in which the mobile holds a tensor."""
    order, producer = problem.positions, tensor.producer
    steps = [order[name] for name in tensor.consumers if sides[name] == MOBILE]
    if tensor.carried:
        comes = steps and not _is_at_home(tensor, sides)
        return (0, len(problem.operators) - 1) if comes else None
    made_there = producer is None or sides[producer] == MOBILE
    if made_there:
        steps.append(0 if producer is None else order[producer])
    if tensor.output and (made_there or problem.ends_on_mobile):
        steps.append(len(problem.operators) - 1)
    return (min(steps), max(steps)) if steps else None
