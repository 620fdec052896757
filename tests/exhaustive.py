"""Every placement of a small problem, judged by the format's definition in exact fractions.

Written from the definition alone; shares nothing with the code that it judges but the data classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from jointdnn_tvm.placement import SIDES, Problem, Tensor


@dataclass(frozen=True)
class Exact:
    """What one placement takes."""

    latency: Fraction
    variance: Fraction
    energy: Fraction
    cloud: Fraction
    mobile_bytes: Fraction
    peak_bytes: Fraction
    error: Fraction
    bottleneck: Fraction
    switches: int

    def objective(self, name: str) -> Fraction:
        """The metric that an objective minimises."""
        named = {"latency": self.latency, "energy": self.energy, "throughput": self.bottleneck}
        return named[name]


@lru_cache(maxsize=4096)
def decimal(value: float) -> Fraction:
    """What the writer of 0.1 meant."""
    return Fraction(str(value))


def exact(problem: Problem, sides: Mapping[str, str], codecs: Mapping[str, str]) -> Exact:
    """All metrics of a placement, by section 5 of the format."""
    link = {name: decimal(value) for name, value in vars(problem.link).items()}
    busy: dict[str, Fraction] = dict.fromkeys(SIDES, Fraction(0))
    variance = joules = weights = error = Fraction(0)
    at_home = [t for t in problem.tensors if t.carried and sides[t.producer or ""] == "mobile"]
    state = sum((decimal(tensor.size_bytes) for tensor in at_home), Fraction(0))
    for operator in problem.operators:
        cost = operator.cost("mobile" if sides[operator.name] == "mobile" else "cloud")
        assert cost is not None
        variance += decimal(cost.spread_s) ** 2
        if sides[operator.name] == "mobile":
            joules += decimal(cost.energy_j)
            weights += decimal(cost.memory_bytes)
    cloud_run_s = Fraction(0)
    for side, seconds in _runs(problem, sides):
        busy[side] += seconds
        cloud_run_s += seconds if side == "cloud" else 0
    link_s = {"up": Fraction(0), "down": Fraction(0)}
    for tensor, direction in crossing(problem, sides):
        codec = tensor.encoding(codecs.get(tensor.name, "none"))
        rate = link["uplink_bps" if direction == "up" else "downlink_bps"]
        link_s[direction] += 8 * decimal(codec.size_bytes) / rate
        error += decimal(codec.error)
        encode, decode = ("mobile", "cloud") if direction == "up" else ("cloud", "mobile")
        busy[encode] += decimal(getattr(codec.encode_s, encode))
        busy[decode] += decimal(getattr(codec.decode_s, decode))
        joules += decimal(codec.encode_j if direction == "up" else codec.decode_j)
    walk = [sides[o.name] for o in problem.operators]
    walk = ["mobile"] * any(t.producer is None for t in problem.tensors) + walk
    walk = walk + ["mobile"] * (problem.outputs_on == "mobile")
    switches = sum(a != b for a, b in itertools.pairwise(walk))
    waits_s = switches * link["rtt_s"] / 2
    radio = link["transmit_w"] * link_s["up"] + link["receive_w"] * link_s["down"]
    return Exact(
        latency=sum(busy.values(), Fraction(0)) + sum(link_s.values(), Fraction(0)) + waits_s,
        variance=variance,
        energy=joules
        + radio
        + link["idle_w"] * (cloud_run_s + waits_s)
        + switches * link["tail_j"] / 2,
        cloud=cloud_run_s,
        mobile_bytes=weights + 2 * state,
        peak_bytes=weights + 2 * state + _most_held(problem, sides),
        error=error,
        bottleneck=max(*busy.values(), *link_s.values()),
        switches=switches,
    )


def meets_limits(problem: Problem, cost: Exact) -> bool:
    """Whether a placement stays within every limit."""
    limits = problem.limits
    taken = {
        "max_energy_j": cost.energy,
        "max_cloud_s": cost.cloud,
        "max_mobile_bytes": cost.mobile_bytes,
        "max_mobile_peak_bytes": cost.peak_bytes,
        "max_error": cost.error,
    }
    for name, value in taken.items():
        limit = getattr(limits, name)
        if limit is not None and value > decimal(limit):
            return False
    if limits.max_latency_s is None:
        return True
    left = decimal(limits.max_latency_s) - cost.latency
    return left >= 0 and decimal(limits.latency_sigmas) ** 2 * cost.variance <= left**2


def every_choice(problem: Problem) -> Iterator[tuple[dict[str, str], dict[str, str], Exact]]:
    """All placements that can run, each with every choice of codecs for what crosses."""
    names = [o.name for o in problem.operators]
    runnable = [[s for s in SIDES if o.cost(s) is not None] for o in problem.operators]
    for chosen in itertools.product(*runnable):
        sides: dict[str, str] = dict(zip(names, chosen, strict=True))
        tensors = [tensor for tensor, _ in crossing(problem, sides)]
        for used in itertools.product(*(t.encodings for t in tensors)):
            codecs = {t.name: codec.name for t, codec in zip(tensors, used, strict=True)}
            yield sides, codecs, exact(problem, sides, codecs)


def best_by_search(problem: Problem) -> tuple[Fraction, int] | None:
    """The least objective within the limits and the fewest switches at that; None: infeasible."""
    return min(
        (
            (cost.objective(problem.objective), cost.switches)
            for _, _, cost in every_choice(problem)
            if meets_limits(problem, cost)
        ),
        default=None,
    )


def crossing(problem: Problem, sides: Mapping[str, str]) -> Iterator[tuple[Tensor, str]]:
    """The tensors that cross, each with ``up`` or ``down``."""
    for tensor in problem.tensors:
        goes_to = {sides[name] for name in tensor.consumers}
        if tensor.output and problem.outputs_on == "mobile":
            goes_to.add("mobile")
        comes_from = "mobile" if tensor.producer is None else sides[tensor.producer]
        if comes_from == "mobile" and "cloud" in goes_to:
            yield tensor, "up"
        if comes_from == "cloud" and "mobile" in goes_to:
            yield tensor, "down"


def _runs(problem: Problem, sides: Mapping[str, str]) -> Iterator[tuple[str, Fraction]]:
    """The side and the seconds of each maximal run of operators."""
    start, names = 0, [o.name for o in problem.operators]
    for end in range(1, len(names) + 1):
        if end < len(names) and sides[names[end]] == sides[names[start]]:
            continue
        side = sides[names[start]]
        costs = [o.mobile if side == "mobile" else o.cloud for o in problem.operators[start:end]]
        seconds = sum((decimal(c.latency_s) for c in costs if c), Fraction(0))
        for block in problem.blocks:
            if (block.side, block.first, block.last) == (side, names[start], names[end - 1]):
                seconds = decimal(block.latency_s)
        yield side, seconds
        start = end


def _most_held(problem: Problem, sides: Mapping[str, str]) -> Fraction:
    """The most bytes of tensors on the mobile in any step."""
    last, order = len(problem.operators) - 1, problem.positions
    most = Fraction(0)
    for step in range(last + 1):
        held = Fraction(0)
        for tensor in problem.tensors:
            readers = [order[name] for name in tensor.consumers if sides[name] == "mobile"]
            made_here = tensor.producer is None or sides[tensor.producer] == "mobile"
            if tensor.carried:
                held += decimal(tensor.size_bytes) if readers and not made_here else 0
                continue
            if tensor.output and (made_here or problem.outputs_on == "mobile"):
                readers.append(last)
            if made_here:
                start = 0 if tensor.producer is None else order[tensor.producer]
                here = start <= step <= max([start, *readers])
            else:
                here = bool(readers) and min(readers) <= step <= max(readers)
            held += decimal(tensor.size_bytes) if here else 0
        most = max(most, held)
    return most
