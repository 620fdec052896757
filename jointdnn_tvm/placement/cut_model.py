"""A placement problem as what a cut of its operators pays, in integers.

The operators are numbered in execution order; `START` stands for the mobile's end of the cut,
where inputs start and outputs end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from jointdnn_tvm.placement.prices import Prices
from jointdnn_tvm.placement.problem import Problem

START = -1


class Net(NamedTuple):
    """A tensor, or a switch: what it costs when the cut separates two operators.

    ``up`` is paid once when the producer is on the mobile and some consumer on the cloud, and
    ``down`` once the other way round.
    """

    producer: int
    consumers: tuple[int, ...]
    up: int
    down: int


@dataclass(frozen=True)
class CutModel:
    """What each operator pays on a side, and each net when it is cut.

    ``neighbours`` are the pairs whose separation is a switch, the second never `START`.
    ``infinite`` is more than any cut that can be made pays, also once switches are charged for.
    """

    mobile: list[int]
    cloud: list[int]
    nets: list[Net]
    neighbours: list[tuple[int, int]]
    infinite: int


def cut_model(problem: Problem, prices: Prices[int], *, one_way: bool = False) -> CutModel:
    """The model of a problem, for the objective that was priced.

    With ``one_way``, nothing that the cloud makes but the outputs comes back to the mobile.
    """
    count = len(problem.operators)
    every_switch = (count + 1) * prices.switch
    infinite = 2 * (sum(value for value in prices.every() if value) + every_switch) + count + 2
    mobile = [infinite if value is None else value for value in prices.mobile]
    cloud = [infinite if value is None else value for value in prices.cloud]
    neighbours = _neighbours(problem)
    nets = [Net(a, (b,), prices.switch, prices.switch) for a, b in neighbours]
    for tensor, up, down in zip(problem.tensors, prices.up, prices.down, strict=True):
        consumers = tuple({problem.positions[name] for name in tensor.consumers})
        if tensor.producer is None:
            nets.append(Net(START, consumers, up, 0))
            continue
        producer = problem.positions[tensor.producer]
        if tensor.output and problem.ends_on_mobile:
            cloud[producer] += down
            down = 0
        nets.append(Net(producer, consumers, up, infinite if one_way else down))
    return CutModel(mobile, cloud, joined(nets), neighbours, infinite)


def joined(nets: Iterable[Net]) -> list[Net]:
    """The nets that a cut can make pay, those between the same operators as one."""
    totals: dict[tuple[int, tuple[int, ...]], tuple[int, int]] = {}
    for producer, consumers, up, down in nets:
        if consumers and (up or down):
            known_up, known_down = totals.get((producer, consumers), (0, 0))
            totals[producer, consumers] = (known_up + up, known_down + down)
    return [Net(*between, up, down) for between, (up, down) in totals.items()]


def _neighbours(problem: Problem) -> list[tuple[int, int]]:
    last = len(problem.operators) - 1
    pairs = list(pairwise(range(last + 1)))
    if problem.starts_on_mobile:
        pairs.append((START, 0))
    if problem.ends_on_mobile:
        pairs.append((START, last))
    return pairs
