"""Drops nodes and constants that no output needs, and optional outputs that nobody reads."""

from __future__ import annotations

from jointdnn_tvm.importer.check_model import used_names
from jointdnn_tvm.importer.onnx_graph import OnnxGraph


def prune(graph: OnnxGraph) -> None:
    """Keeps what the outputs depend on."""
    used = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if used.isdisjoint(node.outputs):
            continue
        kept.append(node.with_outputs(lambda name: name if name in used else ""))
        used.update(used_names(node.proto))
    graph.nodes = kept[::-1]
    for name in graph.constants.keys() - used:
        del graph.constants[name]
