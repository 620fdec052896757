"""Stages that hand over indices: who reads what, under which name."""

from __future__ import annotations

import numpy as np

from jointdnn_tvm.boundary import InModule, quantised_tensors, send_indices
from jointdnn_tvm.codec.quantise import Grid
from jointdnn_tvm.graph import Graph, Group, Tensor, split_into_stages

GRID = Grid(None, np.zeros(1, np.float32), np.ones(1, np.float32))


def group(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Group:
    return Group(name, ("op",), inputs, (), outputs, 0, name)


def tensor(name: str, producer: str | None, *consumers: str, output: bool = False) -> Tensor:
    return Tensor(name, (1, 4, 4, 64), "float32", producer, consumers, output)


GRAPH = Graph(
    groups=(
        group("a", ("x",), ("t",)),
        group("b", ("t",), ("u",)),
        group("c", ("t", "u"), ("v", "v_indices")),
        group("d", ("u", "v", "v_indices"), ("y",)),
    ),
    tensors=(
        tensor("x", None, "a"),
        tensor("t", "a", "b", "c"),
        tensor("u", "b", "c", "d"),
        tensor("v", "c", "d"),
        tensor("v_indices", "c", "d"),
        tensor("y", "d", output=True),
    ),
    inputs=("x",),
    outputs=("y",),
)


def test_each_side_reads_its_own_plain_and_the_others_indices() -> None:
    stages = split_into_stages(GRAPH, {"a": "mobile", "b": "cloud", "c": "mobile", "d": "cloud"})
    how = InModule(GRID, 256, "planes")
    quantised = quantised_tensors(GRAPH, dict.fromkeys("tuv", how))
    assert {t: (q.tensor, q.name, q.how) for t, q in quantised.items()} == {
        "t": ("t", "t_indices", how),
        "u": ("u", "u_indices", how),
        "v": ("v", "v_indices_", how),
    }
    after = send_indices(stages, GRAPH, quantised)
    assert [(s.inputs, s.outputs) for s in after] == [
        (("x",), ("t", "t_indices")),
        (("t_indices",), ("u", "u_indices")),
        (("t", "u_indices"), ("v_indices_", "v_indices")),
        (("u", "v_indices_", "v_indices"), ("y",)),
    ]
    assert [s.groups for s in after] == [s.groups for s in stages]


def test_without_quantised_tensors_nothing_changes() -> None:
    stages = split_into_stages(GRAPH, {"a": "mobile", "b": "cloud", "c": "mobile", "d": "cloud"})
    assert quantised_tensors(GRAPH, {}) == {}
    assert send_indices(stages, GRAPH, {}) == stages
