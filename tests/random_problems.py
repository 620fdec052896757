"""Small placement problems of all kinds, at random, for exhaustive search to judge."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import replace

from jointdnn_tvm.placement import (
    SIDES,
    Block,
    Codec,
    Limits,
    Link,
    Operator,
    Problem,
    SideCost,
    SideSeconds,
    Tensor,
    fixed_placement,
)
from jointdnn_tvm.placement.solution import LIMIT_SLACK

LIMITS = tuple(name for name in vars(Limits()) if name.startswith("max_"))


def random_problem(
    seed: int,
    *,
    most: int = 7,
    objectives: Collection[str] = ("latency", "energy"),
    codecs: bool = False,
    chain: bool | None = None,
    spreads: bool = False,
    carried: bool = False,
) -> Problem:
    """Chains and DAGs, many or no inputs, pins, zeros, ties, decimal and odd costs; no limits.

    With ``carried``, some tensors are made for the next run; in a chain, by each for itself.
    """
    rng = random.Random(seed)
    count = rng.randint(1, most)
    few = rng.random() < 0.5  # few distinct values: many ties

    def number(scale: float) -> float:
        if rng.random() < 0.2:
            return 0.0
        return round(rng.choice((1, 2, 3)) * scale, 9) if few else rng.random() * scale

    def side_cost() -> SideCost:
        spread = number(0.02) if spreads else 0.0
        return SideCost(number(0.1), number(0.1), rng.randint(0, 100), spread)

    def operator(index: int) -> Operator:
        mobile, cloud = side_cost(), side_cost()
        pinned = rng.random()
        return Operator(
            f"op{index}",
            None if pinned < 0.08 else mobile,
            None if pinned > 0.92 else cloud,
        )

    def codec(index: int, size_bytes: float) -> Codec:
        encode_s, decode_s = (SideSeconds(number(0.01), number(0.001)) for _ in range(2))
        size = round(size_bytes * rng.choice((0.1, 0.25, 0.5)), 9)
        error, *joules = number(0.01), number(0.01), number(0.01)
        return Codec(f"codec{index}", size, encode_s, decode_s, error, *joules)

    def tensor(name: str, producer: str | None, consumers: list[int], output: bool) -> Tensor:
        size = number(1000)
        offered = rng.randint(0, 2) if codecs else 0
        return Tensor(
            name,
            producer,
            tuple(f"op{c}" for c in consumers),
            size,
            output,
            tuple(codec(i, size) for i in range(offered)),
        )

    in_line = rng.random() < 0.3 if chain is None else chain
    tensors = []
    for index in range(count):
        later = range(index + 1, count)
        drawn = rng.sample(later, rng.randint(0, min(3, len(later))))
        consumers = list(later[:1]) if in_line else drawn
        output = not consumers or rng.random() < 0.15
        tensors.append(tensor(f"t{index}", f"op{index}", consumers, output))
    for index in range(rng.choice((0, 1, 1, 2))):
        drawn = rng.sample(range(count), rng.randint(1, min(3, count)))
        consumers = [0] if in_line else drawn
        tensors.append(tensor(f"input{index}", None, consumers, False))
    rng.shuffle(tensors)
    operators = tuple(map(operator, range(count)))
    if carried:
        for index in range(rng.randint(1, 3)):
            producer = rng.randrange(count)
            drawn = rng.sample(range(count), rng.randint(0, min(3, count)))
            consumers = [c for c in drawn if c == producer or not in_line]
            state = tensor(f"state{index}", f"op{producer}", consumers, False)
            tensors.insert(rng.randint(0, len(tensors)), replace(state, carried=True))
    return Problem(
        operators=operators,
        tensors=tuple(tensors),
        link=Link(
            uplink_bps=rng.choice((8e4, 4e4, 5.85e4)),
            downlink_bps=rng.choice((8e4, 1.6e5, 13.76e4)),
            rtt_s=rng.choice((0.0, 0.1, 0.2, 0.037)),
            transmit_w=number(1),
            receive_w=number(1),
            idle_w=number(1),
            tail_j=random.Random(f"tail {seed}").choice((0.0, 0.0, 0.1, 1.25)),
        ),
        objective=rng.choice(sorted(objectives)),
        outputs_on=rng.choice(("mobile", "any")),
    )


def with_limits(problem: Problem, seed: int, *, names: Collection[str] = LIMITS) -> Problem:
    """The problem with some limits: loose and tight ones, some met exactly, some not at all.

    They are drawn near what random placements take.
    """
    rng = random.Random(seed)
    chosen = rng.sample(sorted(names), rng.randint(1, min(3, len(names))))
    sigmas = rng.choice((0.0, 1.0, 2.5))
    problem = replace(problem, limits=Limits(latency_sigmas=sigmas))
    values = {}
    for name in chosen:
        sides = {
            o.name: rng.choice([s for s in SIDES if o.cost(s) is not None])
            for o in problem.operators
        }
        codecs = {t.name: rng.choice(t.encodings).name for t in problem.tensors}
        answer = fixed_placement(problem, sides, codecs)
        taken = {
            "max_latency_s": answer.deadline_s,
            "max_energy_j": answer.energy_j,
            "max_cloud_s": answer.cloud_s,
            "max_mobile_bytes": answer.mobile_bytes,
            "max_mobile_peak_bytes": answer.mobile_peak_bytes,
            "max_error": answer.error,
        }[name]
        values[name] = round(taken, 9) * rng.choice((0.9, 1.0, 1.0, 1.2))
        if rng.random() < 0.5:
            values[name] = round(values[name], 6)
    return replace(problem, limits=Limits(**values, latency_sigmas=sigmas))


def slackened(problem: Problem) -> Problem:
    """The problem with limits that solvers take for equal, for a judge that knows no slack."""
    limits = {name: value * (1 + LIMIT_SLACK) for name, value in problem.limits.active.items()}
    sigmas = problem.limits.latency_sigmas
    return replace(problem, limits=Limits(**limits, latency_sigmas=sigmas))


def with_blocks(problem: Problem, seed: int) -> Problem:
    """A chain with block costs for some of its runs."""
    rng = random.Random(seed)
    count, blocks = len(problem.operators), []
    for first in range(count):
        for last in range(first, count):
            for side in SIDES:
                costs = [o.cost(side) for o in problem.operators[first : last + 1]]
                known = [cost.latency_s for cost in costs if cost is not None]
                if len(known) == len(costs) and rng.random() < 0.5:
                    seconds = round(sum(known) * rng.choice((0.5, 0.8, 1.0, 1.3)), 9)
                    names = (f"op{first}", f"op{last}")
                    blocks.append(Block(side, *names, seconds))
    return replace(problem, blocks=tuple(blocks))


def dense_network(seed: int, layers: Collection[int] = (8, 16, 28, 20)) -> Problem:
    """Blocks of layers that each read several before them, as large as a real network in groups.

    Tensors get smaller with depth, so that several plans are optimal somewhere.
    """
    rng = random.Random(seed)
    names: list[str] = []
    read_by: dict[str, list[str]] = {}

    def group(inputs: list[str]) -> str:
        name = f"op{len(names)}"
        for read in inputs:
            read_by[read].append(name)
        names.append(name)
        read_by[name] = []
        return name

    read_by["image"] = []
    last = group(["image"])
    for count in layers:
        block = [last]
        for _ in range(count):
            block.append(group([group(block[-5:])]))
        last = group(block)
    operators = []
    for name in names:
        mobile_s = 0.01 * rng.lognormvariate(0, 1)
        cloud_s = mobile_s * rng.uniform(0.02, 0.1)
        operators.append(Operator(name, SideCost(mobile_s, 4 * mobile_s), SideCost(cloud_s)))
    sizes = {
        name: 10 ** (6 - 2.5 * depth / len(read_by) + rng.gauss(0, 0.5))
        for depth, name in enumerate(read_by)
    }
    tensors = [
        Tensor(f"of {name}", None if name == "image" else name, tuple(readers), sizes[name])
        for name, readers in read_by.items()
        if readers
    ]
    tensors.append(Tensor("result", last, (), 4000, output=True))
    link = Link(2e7, 4e7, 0.01, transmit_w=1.3, receive_w=0.9, idle_w=1.5)
    return Problem(tuple(operators), tuple(tensors), link)
