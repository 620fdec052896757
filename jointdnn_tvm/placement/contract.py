"""Operators that no minimum cut separates, found without solving anything.

Let u be on the mobile and v on the cloud, and J be what separating them costs in both directions
together. Moving v to the mobile saves the one direction of J and adds at most what leaves v, less
the other direction; moving u to the cloud likewise adds at most what enters u. So when J is more
than what leaves v, or more than what enters u, a cut that separates them so is not minimal. When
that holds whichever of the two is on the mobile, they are one node of the cut.

On a link that is slow beside the devices this leaves few nodes of a large network, whose flow
would otherwise take as many phases as its longest path has operators.
"""

from __future__ import annotations

from collections import defaultdict

from jointdnn_tvm.placement.cut_model import START, CutModel, Net, joined

_WORTH = 12  # another round is worth its time when one node in so many was merged


def contract(model: CutModel, margin: int) -> tuple[CutModel, list[int]]:
    """A model with fewer nodes, and the node of each operator in it.

    Operators that share a node stay together in every cut that is within ``margin`` of minimal.
    """
    merging = _Merging(model)
    left = len(model.mobile)
    while (merged := merging.one_round(margin)) * _WORTH >= left:
        left -= merged
    return merging.contracted(model)


class _Merging:
    """Which node each operator is in (named by one of its operators), and the nets between."""

    def __init__(self, model: CutModel) -> None:
        self._node_of = list(range(len(model.mobile)))
        self._nets = model.nets
        # What a node pays more on the mobile than on the cloud.
        self._balance = [m - c for m, c in zip(model.mobile, model.cloud, strict=True)]

    def one_round(self, margin: int) -> int:
        """Merge the pairs that can be told to be inseparable now; returns how many."""
        leaves, enters, joint = self._totals()
        balance, parent = self._balance, self._node_of
        to_mobile = [out + max(0, more) for out, more in zip(leaves, balance, strict=True)]
        to_cloud = [into - min(0, more) for into, more in zip(enters, balance, strict=True)]
        merged = 0
        for (first, second), between in joint + joint[::-1]:
            u, v = _root(parent, first), _root(parent, second)
            least = between - margin
            if (
                u != v
                and (least > to_mobile[v] or least > to_cloud[u])
                and (least > to_mobile[u] or least > to_cloud[v])
            ):
                parent[v] = u
                balance[u] += balance[v]
                leaves[u] += leaves[v] - between
                enters[u] += enters[v] - between
                to_mobile[u] = leaves[u] + max(0, balance[u])
                to_cloud[u] = enters[u] - min(0, balance[u])
                merged += 1
        if merged:
            self._node_of = [_root(parent, node) for node in parent]
            self._nets = _renamed(self._nets, self._node_of)
        return merged

    def contracted(self, model: CutModel) -> tuple[CutModel, list[int]]:
        """The model between nodes, numbered from 0, and the number of each operator's node."""
        number = {node: index for index, node in enumerate(dict.fromkeys(self._node_of))}
        nodes = [number[node] for node in self._node_of]
        mobile, cloud = [0] * len(number), [0] * len(number)
        for node, on_mobile, on_cloud in zip(nodes, model.mobile, model.cloud, strict=True):
            mobile[node] += on_mobile
            cloud[node] += on_cloud
        neighbours = [
            (START if one == START else nodes[one], nodes[other]) for one, other in model.neighbours
        ]
        neighbours = [(one, other) for one, other in neighbours if one != other]
        nets = _renamed(self._nets, nodes)
        return CutModel(mobile, cloud, nets, neighbours, model.infinite), nodes

    def _totals(self) -> tuple[list[int], list[int], list[tuple[tuple[int, int], int]]]:
        """At most what leaves and enters each node, and what joins each pair both ways."""
        leaves, enters = [0] * len(self._node_of), [0] * len(self._node_of)
        joint: dict[tuple[int, int], int] = defaultdict(int)
        for producer, consumers, up, down in self._nets:
            for consumer in consumers:
                enters[consumer] += up
                leaves[consumer] += down
            if producer != START:
                leaves[producer] += up
                enters[producer] += down
                if len(consumers) == 1:
                    (consumer,) = consumers
                    pair = (producer, consumer) if producer < consumer else (consumer, producer)
                    joint[pair] += up + down
        return leaves, enters, list(joint.items())


def _root(parent: list[int], node: int) -> int:
    while parent[node] != node:
        node = parent[node]
    return node


def _renamed(nets: list[Net], names: list[int]) -> list[Net]:
    """The nets with other names for their nodes, less those inside one node."""
    renamed = []
    for old_producer, old_consumers, up, down in nets:
        producer = START if old_producer == START else names[old_producer]
        consumers = {names[consumer] for consumer in old_consumers}
        consumers.discard(producer)
        renamed.append(Net(producer, tuple(consumers), up, down))
    return joined(renamed)
