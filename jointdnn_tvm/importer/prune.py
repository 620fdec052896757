"""Drops nodes and constants that no output needs, and optional outputs that nobody reads."""

from __future__ import annotations

from onnx.defs import OpSchema

from jointdnn_tvm.importer.check_model import used_names
from jointdnn_tvm.importer.infer_types import schema_of
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph


def prune(graph: OnnxGraph) -> None:
    """Keeps what the outputs depend on."""
    used = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if used.isdisjoint(node.outputs):
            continue
        if not used.issuperset(node.outputs):
            node = _without_unread(node, used)
        kept.append(node)
        used.update(used_names(node.proto))
    graph.nodes = kept[::-1]
    for name in graph.constants.keys() - used:
        del graph.constants[name]


def _without_unread(node: Node, used: set[str]) -> Node:
    schema = schema_of(node)
    declared = [] if schema is None else schema.outputs
    outputs = node.outputs
    for index, output in enumerate(declared[: len(outputs)]):
        optional = output.option == OpSchema.FormalParameterOption.Optional
        if optional and outputs[index] not in used:
            outputs[index] = ""
    return node.with_names(node.inputs, outputs)
