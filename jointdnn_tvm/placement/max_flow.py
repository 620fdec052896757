"""Maximum flow on integers: Dinic's algorithm (1970), exact for capacities of any size.

Capacities are Python integers, never floats: with floats a saturated arc can keep a residue of
1e-17, and the cut read from the residual graph is then wrong.
"""

from __future__ import annotations


class FlowNetwork:
    """A directed graph with integer capacities; arc ``a`` and its reverse ``a ^ 1`` are a pair."""

    def __init__(self, nodes: int) -> None:
        self._arcs: list[list[int]] = [[] for _ in range(nodes)]  # arcs that leave each node
        self._head: list[int] = []
        self._residual: list[int] = []

    def add_node(self) -> int:
        """A new node."""
        self._arcs.append([])
        return len(self._arcs) - 1

    def add_arc(self, tail: int, head: int, capacity: int, reverse: int = 0) -> int:
        """A new arc with a capacity in each direction; returns its number."""
        arc = len(self._head)
        self._head += (head, tail)
        self._residual += (capacity, reverse)
        self._arcs[tail].append(arc)
        self._arcs[head].append(arc + 1)
        return arc

    def widen(self, arc: int, capacity: int, reverse: int = 0) -> None:
        """Add capacity to an arc, also when flow already runs through it."""
        self._residual[arc] += capacity
        self._residual[arc ^ 1] += reverse

    def augment(self, source: int, sink: int) -> int:
        """Send all the flow that still fits from source to sink; returns how much was added."""
        total = 0
        while (level := self._distances_to(sink, source))[source] >= 0:
            total += self._blocking_flow(source, sink, level)
        return total

    def reaches(self, sink: int) -> list[bool]:
        """For each node, whether the residual graph has a path from it to the sink.

        After `augment`, the nodes without one are the largest source side of a minimum cut.
        """
        return [distance >= 0 for distance in self._distances_to(sink)]

    def _distances_to(self, sink: int, source: int = -1) -> list[int]:
        """Arcs on the shortest residual path from each node to the sink; -1 where none is.

        With a source, nodes that are not nearer to the sink than it may be left at -1.
        """
        arcs, head, residual = self._arcs, self._head, self._residual
        level = [-1] * len(arcs)
        level[sink] = 0
        queue = [sink]
        for node in queue:
            distance = level[node] + 1
            for arc in arcs[node]:
                tail = head[arc]
                if level[tail] < 0 and residual[arc ^ 1]:
                    level[tail] = distance
                    if tail == source:
                        return level
                    queue.append(tail)
        return level

    def _blocking_flow(self, source: int, sink: int, level: list[int]) -> int:
        """Saturate an arc on every shortest path, walking depth first without recursion."""
        arcs, head, residual = self._arcs, self._head, self._residual
        tried = [0] * len(arcs)  # arcs of each node that lead nowhere any more
        path: list[int] = []
        node, total = source, 0
        while True:
            if node == sink:
                total += self._push(path)
                node = self._back_to_saturated(path)
            leaving, below = arcs[node], level[node] - 1
            for index in range(tried[node], len(leaving)):
                arc = leaving[index]
                if residual[arc] and level[head[arc]] == below:
                    tried[node] = index
                    path.append(arc)
                    node = head[arc]
                    break
            else:
                if not path:
                    return total
                tried[node] = len(leaving)
                node = head[path.pop() ^ 1]
                tried[node] += 1

    def _push(self, path: list[int]) -> int:
        """Send as much as fits along a path; returns how much."""
        residual = self._residual
        flow = min([residual[arc] for arc in path])
        for arc in path:
            residual[arc] -= flow
            residual[arc ^ 1] += flow
        return flow

    def _back_to_saturated(self, path: list[int]) -> int:
        """Shorten a path to end before its first saturated arc; returns the node it ends at."""
        for index, arc in enumerate(path):
            if not self._residual[arc]:
                del path[index:]
                return self._head[arc ^ 1]
        raise AssertionError("a pushed path has a saturated arc")
