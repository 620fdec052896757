"""The maximum flow against networkx, on integers."""

from __future__ import annotations

import random

import networkx as nx
import pytest

from jointdnn_tvm.placement.max_flow import FlowNetwork


@pytest.mark.parametrize("seed", range(60))
def test_flow_and_cut_agree_with_networkx(seed: int) -> None:
    rng = random.Random(seed)
    nodes = rng.randint(2, 25)
    largest = rng.choice((3, 10**6, 10**40))
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_nodes_from(range(nodes))
    network = FlowNetwork(nodes)
    for _ in range(rng.randint(0, 5 * nodes)):
        tail, head = rng.sample(range(nodes), 2)
        there, back = rng.randint(0, largest), rng.choice((0, rng.randint(0, largest)))
        network.add_arc(tail, head, there, back)
        _add_capacity(graph, tail, head, there)
        _add_capacity(graph, head, tail, back)
    flow = network.augment(0, 1)
    assert flow == nx.maximum_flow_value(graph, 0, 1)
    sink_side = network.reaches(1)
    assert not sink_side[0]
    assert sink_side[1]
    across = (
        data["capacity"]
        for tail, head, data in graph.edges(data=True)
        if not sink_side[tail] and sink_side[head]
    )
    assert sum(across) == flow


def _add_capacity(graph: nx.DiGraph, tail: int, head: int, capacity: int) -> None:
    before = graph.edges[tail, head]["capacity"] if graph.has_edge(tail, head) else 0
    graph.add_edge(tail, head, capacity=before + capacity)


def test_flow_goes_on_after_an_arc_is_widened() -> None:
    network = FlowNetwork(2)
    middle = network.add_node()
    narrow = network.add_arc(0, middle, 3)
    network.add_arc(middle, 1, 5)
    assert network.augment(0, 1) == 3
    assert network.reaches(1) == [False, True, True]
    network.widen(narrow, 10)
    assert network.augment(0, 1) == 2
    assert network.reaches(1) == [False, True, False]


def test_a_path_far_longer_than_the_recursion_limit() -> None:
    nodes = 5000
    network = FlowNetwork(nodes)
    for node in range(nodes - 1):
        network.add_arc(node, node + 1, 7 + node % 3)
    assert network.augment(0, nodes - 1) == 7
