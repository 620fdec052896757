"""A placement problem as what a cut of its operators pays, in integers.

The operators are numbered in execution order; `START` stands for the mobile's end of the cut,
where inputs start and outputs end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


class Contracted(NamedTuple):
    """The node of each operator, numbered from 0, and the tensors that a cut of nodes can make pay.

    ``tensors`` are numbers in `Problem.tensors`; inputs and outputs are always among them.
    """

    nodes: Sequence[int]
    tensors: Sequence[int]


def uncontracted(problem: Problem) -> Contracted:
    """A node for each operator."""
    return Contracted(range(len(problem.operators)), range(len(problem.tensors)))


def cut_model(
    problem: Problem,
    prices: Prices[int],
    contracted: Contracted | None = None,
    *,
    one_way: bool = False,
) -> CutModel:
    """The model of a problem between nodes (None: one for each operator).

    Prices are of the objective, and of the contraction's tensors alone. With ``one_way``, nothing
    that the cloud makes but the outputs comes back to the mobile.
    """
    node_of, tensors = contracted or uncontracted(problem)
    count = len(problem.operators)
    every_switch = (count + 1) * prices.switch
    infinite = 2 * (sum(filter(None, prices.every())) + every_switch) + count + 2
    mobile, cloud = [0] * (max(node_of) + 1), [0] * (max(node_of) + 1)
    for node, on_mobile, on_cloud in zip(node_of, prices.mobile, prices.cloud, strict=True):
        mobile[node] += infinite if on_mobile is None else on_mobile
        cloud[node] += infinite if on_cloud is None else on_cloud
    neighbours = _neighbours(problem, node_of)
    nets = [Net(a, (b,), prices.switch, prices.switch) for a, b in neighbours]
    place = {operator.name: node for operator, node in zip(problem.operators, node_of, strict=True)}
    for number, up, down in zip(tensors, prices.up, prices.down, strict=True):
        tensor = problem.tensors[number]
        producer = START if tensor.producer is None else place[tensor.producer]
        if tensor.output and problem.ends_on_mobile and producer != START:
            cloud[producer] += down
            down = 0
        consumers = {place[name] for name in tensor.consumers}
        consumers.discard(producer)
        if consumers:
            back = 0 if producer == START else infinite if one_way else down
            nets.append(Net(producer, tuple(consumers), up, back))
    return CutModel(mobile, cloud, _joined(nets), neighbours, infinite)


def _joined(nets: Iterable[Net]) -> list[Net]:
    """The nets that a cut can make pay, those between the same operators as one."""
    totals: dict[tuple[int, tuple[int, ...]], tuple[int, int]] = {}
    for producer, consumers, up, down in nets:
        if consumers and (up or down):
            known_up, known_down = totals.get((producer, consumers), (0, 0))
            totals[producer, consumers] = (known_up + up, known_down + down)
    return [Net(*between, up, down) for between, (up, down) in totals.items()]


def _neighbours(problem: Problem, node_of: Sequence[int]) -> list[tuple[int, int]]:
    pairs = [(a, b) for a, b in pairwise(node_of) if a != b]
    if problem.starts_on_mobile:
        pairs.append((START, node_of[0]))
    if problem.ends_on_mobile:
        pairs.append((START, node_of[-1]))
    return pairs
