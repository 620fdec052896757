"""Placement problems to time solvers on. No cost in them was measured.

What is real of a network is its graph: its groups, its tensors and their sizes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path

from known_networks import network_file

from jointdnn_tvm.graph import Group
from jointdnn_tvm.graph import Tensor as GraphTensor
from jointdnn_tvm.network import load_network
from jointdnn_tvm.placement import Link, Operator, Problem, SideCost, Tensor

# FLOP/s, bytes/s, and s to start a group: a single-board computer, and a server's accelerator.
_MOBILE = (12e9, 4e9, 20e-6)
_CLOUD = (10e12, 1e12, 8e-6)
_BUSY_W = 4.0
_LINK = Link(20e6, 40e6, rtt_s=0.01, transmit_w=1.3, receive_w=0.9, idle_w=1.5)


def network_problem(name: str, folder: Path) -> Problem:
    """The group graph of a network with a roofline's costs; keeps the ONNX file in `folder`."""
    graph = load_network(network_file(name, folder)).graph
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    return Problem(
        operators=tuple(_operator(group, tensors) for group in graph.groups),
        tensors=tuple(
            Tensor(t.name, t.producer, t.consumers, t.size_bytes, t.output)
            for t in graph.tensors
            if t.consumers or (t.output and t.producer)
        ),
        link=_LINK,
    )


def _operator(group: Group, tensors: Mapping[str, GraphTensor]) -> Operator:
    """Two operations for each weight at each place of the output; each byte is moved once."""
    made = [tensors[name] for name in group.outputs]
    read = [tensors[name] for name in group.inputs]
    places = max(math.prod(t.shape) // (t.shape[1] if len(t.shape) > 1 else 1) for t in made)
    operations = 2 * places * group.weight_bytes / 4
    moved = group.weight_bytes + sum(t.size_bytes for t in read + made)
    mobile_s, cloud_s = (
        max(operations / flops, moved / rate) + start_s
        for flops, rate, start_s in (_MOBILE, _CLOUD)
    )
    mobile = SideCost(mobile_s, _BUSY_W * mobile_s, group.weight_bytes)
    return Operator(group.name, mobile, SideCost(cloud_s))


def random_dag(count: int, seed: int = 0) -> Problem:
    """Operators that read the one before, and often others of the last ten; costs at random.

    Sizes spread over three decades, so that the optimum goes back and forth between the sides.
    """
    rng = random.Random(seed)
    names = [f"op{index}" for index in range(count)]
    read_by: list[set[str]] = [{name} for name in names[1:]] + [set()]
    for index in range(2, count):
        if rng.random() < 0.4:
            read_by[rng.randrange(max(0, index - 10), index)].add(names[index])
    operators = []
    for name in names:
        mobile_s = 0.01 * rng.lognormvariate(0, 1)
        cloud_s = mobile_s * rng.uniform(0.05, 1.5)
        mobile = SideCost(mobile_s, _BUSY_W * mobile_s, rng.randrange(10**6))
        operators.append(Operator(name, mobile, SideCost(cloud_s)))
    tensors = [Tensor("image", None, (names[0],), 150528)]
    for index, readers in enumerate(read_by):
        size_bytes = int(10 ** rng.uniform(2, 5))
        tensors.append(
            Tensor(f"t{index}", names[index], tuple(sorted(readers)), size_bytes, not readers)
        )
    return Problem(tuple(operators), tuple(tensors), _LINK)
