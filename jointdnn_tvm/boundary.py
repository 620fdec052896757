"""Tensors that are quantised inside the compiled stages: plain data.

The stage that makes such a tensor hands out its indices, a tensor of bytes with a name of its own;
stages of the other side read these. The host then only packs and compresses bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jointdnn_tvm.codec.quantise import Grid
from jointdnn_tvm.graph import Graph, Stage


@dataclass(frozen=True, eq=False)
class InModule:
    """How compiled modules quantise a tensor: on a grid of so many levels.

    The codec is that of the indices, by which the host sends them.
    """

    grid: Grid
    levels: int
    codec: str


@dataclass(frozen=True)
class Quantised:
    """The tensor that a quantised one's indices are, by its name, and how they are made."""

    tensor: str
    name: str
    how: InModule


def quantised_tensors(graph: Graph, in_module: Mapping[str, InModule]) -> dict[str, Quantised]:
    """The tensors that modules quantise, by their names, with names for their indices."""
    return {t: Quantised(t, _indices_name(t, graph), how) for t, how in in_module.items()}


def _indices_name(tensor: str, graph: Graph) -> str:
    """A name for the indices of a tensor that nothing in the graph has."""
    name = f"{tensor}_indices"
    taken = {t.name for t in graph.tensors} | {w for g in graph.groups for w in g.weights}
    while name in taken:
        name += "_"
    return name


def send_indices(
    stages: Sequence[Stage], graph: Graph, quantised: Mapping[str, Quantised]
) -> tuple[Stage, ...]:
    """The stages with `quantised` tensors, by their names, replaced where they cross.

    A stage hands a tensor out as it is only to later stages of its own side.
    """
    side = {t: stage.side for stage in stages for t in stage.outputs}
    after = []
    for stage in stages:
        inputs = tuple(
            quantised[t].name if t in quantised and side[t] != stage.side else t
            for t in stage.inputs
        )
        outputs: list[str] = []
        for t in stage.outputs:
            readers = [s.side for s in stages if t in s.inputs]
            if t not in quantised or stage.side in readers or graph.tensor(t).output:
                outputs.append(t)
            if t in quantised and any(reader != stage.side for reader in readers):
                outputs.append(quantised[t].name)
        after.append(replace(stage, inputs=inputs, outputs=tuple(outputs)))
    return tuple(after)
