"""The network as plain data: operator groups, the tensors between them, and their stages.

No TVM here: `passes/group_operators.py` makes the groups, `passes/read_graph.py` reads this graph
off the grouped module, and everything that decides where a group runs works on it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.problem import SIDES, Side

Placement = Mapping[str, Side]


@dataclass(frozen=True)
class Tensor:
    """A value that one group (or the network's input, `producer` None) makes for others."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    producer: str | None
    consumers: tuple[str, ...]
    output: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor as it lies in memory."""
        return size_bytes(self.shape, self.dtype)


@dataclass(frozen=True)
class Group:
    """The unit of placement: an anchor operator and the elementwise operators fused into it.

    `key` is a hash of the group's operators, shapes and inline constants: groups with the same
    key cost the same on the same device.
    """

    name: str
    operators: tuple[str, ...]
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    outputs: tuple[str, ...]
    weight_bytes: int
    key: str


@dataclass(frozen=True)
class Graph:
    """Groups in an order in which they can run, and every tensor that crosses between groups."""

    groups: tuple[Group, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def tensor(self, name: str) -> Tensor:
        """Look a tensor up by name; KeyError when there is none."""
        return {t.name: t for t in self.tensors}[name]

    def to_networkx(self) -> nx.DiGraph:
        """Groups as nodes, an edge for each producer and consumer with the tensors it carries."""
        graph = nx.DiGraph()
        for group in self.groups:
            graph.add_node(group.name, group=group)
        for tensor in self.tensors:
            for consumer in tensor.consumers if tensor.producer else ():
                if not graph.has_edge(tensor.producer, consumer):
                    graph.add_edge(tensor.producer, consumer, tensors=[], size_bytes=0)
                edge = graph.edges[tensor.producer, consumer]
                edge["tensors"].append(tensor.name)
                edge["size_bytes"] += tensor.size_bytes
        return graph


@dataclass(frozen=True)
class Stage:
    """Groups of one side that run back to back, what they read, and what others read of them."""

    name: str
    side: Side
    groups: tuple[str, ...]
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    outputs: tuple[str, ...]


def size_bytes(shape: Sequence[int], dtype: str) -> int:
    """Bytes of a dense array of this shape; sub-byte element types round up as a whole."""
    found = re.search(r"\d+", dtype)  # float32, int4, float8_e4m3fn: the first number is the width
    bits = int(found.group()) if found else 8  # bool
    return (math.prod(shape) * bits + 7) // 8


def check_placement(graph: Graph, placement: Placement) -> None:
    """Raise ProblemError unless `placement` names a side for every group and nothing else."""
    names = {g.name for g in graph.groups}
    if missing := sorted(names - placement.keys()):
        raise ProblemError(f"the placement has no side for group {missing[0]!r}; add it")
    if unknown := sorted(placement.keys() - names):
        raise ProblemError(
            f"the placement names group {unknown[0]!r}, which the network does not have; "
            "remove it, or make the placement from this network's own plan"
        )
    for name, side in placement.items():
        if side not in SIDES:
            raise ProblemError(f"group {name!r} is placed on {side!r}; use 'mobile' or 'cloud'")


def split_into_stages(graph: Graph, placement: Placement) -> tuple[Stage, ...]:
    """Cut the graph into maximal stages: a side runs all it can before the other takes over.

    The first stage is the mobile's when it has anything to run; running every ready group of one
    side before switching gives the fewest stages that start there.
    """
    check_placement(graph, placement)
    runs = _alternate(graph, placement, "mobile")
    return tuple(_stage(graph, i, side, names) for i, (side, names) in enumerate(runs))


def _alternate(graph: Graph, placement: Placement, side: Side) -> list[tuple[Side, list[str]]]:
    producer = {t.name: t.producer for t in graph.tensors}
    waiting = list(graph.groups)
    done: set[str] = set()
    runs: list[tuple[Side, list[str]]] = []
    while waiting:
        run: list[str] = []
        later = []
        for group in waiting:  # one sweep is enough: the groups are in topological order
            ready = all(producer[t] is None or producer[t] in done for t in group.inputs)
            if ready and placement[group.name] == side:
                run.append(group.name)
                done.add(group.name)
            else:
                later.append(group)
        waiting = later
        if run:
            runs.append((side, run))
        side = "cloud" if side == "mobile" else "mobile"
    return runs


def _stage(graph: Graph, index: int, side: Side, names: list[str]) -> Stage:
    inside = set(names)
    groups = [g for g in graph.groups if g.name in inside]
    made = {t for g in groups for t in g.outputs}
    return Stage(
        name=f"stage_{index}_{side}",
        side=side,
        groups=tuple(names),
        inputs=tuple(dict.fromkeys(t for g in groups for t in g.inputs if t not in made)),
        weights=tuple(dict.fromkeys(w for g in groups for w in g.weights)),
        outputs=tuple(
            t.name
            for t in graph.tensors
            if t.name in made and (t.output or not inside.issuperset(t.consumers))
        ),
    )


def whole_network(graph: Graph) -> Stage:
    """All groups as one stage, the mobile's."""
    return _stage(graph, 0, "mobile", [g.name for g in graph.groups])


def stage_key(graph: Graph, stage: Stage) -> str:
    """Hash of a stage's groups and of how they are wired.

    Stages with the same key cost the same on the same device, whatever their tensors are called.
    """
    groups = {g.name: g for g in graph.groups}
    numbers: dict[str, int] = {}

    def number(tensors: Sequence[str]) -> list[int]:
        return [numbers.setdefault(t, len(numbers)) for t in tensors]

    wiring = [
        (groups[name].key, number(groups[name].inputs), number(groups[name].outputs))
        for name in stage.groups
    ]
    text = json.dumps([wiring, number(stage.inputs), number(stage.outputs)])
    return hashlib.sha256(text.encode()).hexdigest()
