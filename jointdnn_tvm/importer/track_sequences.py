"""Sequences of tensors and optional tensors are followed at import and never reach the module."""

from __future__ import annotations

import numpy as np

from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph, make_node


def track_sequences(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """Resolves operators on sequences whose length and positions are known."""
    if node.op.startswith("Optional"):
        return _optional(node, graph)
    match node.op:
        case "SequenceEmpty":
            return _keep(node, graph, [])
        case "SequenceConstruct":
            return _keep(node, graph, node.inputs)
        case "SplitToSequence":
            return _split(node, graph)
    parts = graph.sequences.get(node.input(0))
    if parts is None:
        return None
    match node.op:
        case "Identity":
            return _keep(node, graph, parts)
        case "SequenceLength":
            graph.set_constant(node.outputs[0], np.array(len(parts), np.int64))
            return []
        case "ConcatFromSequence":
            return _concat(node, graph, parts)
        case "SequenceInsert":
            place = _position(node, 2, len(parts), graph, default=len(parts))
            return (
                place
                if place is None
                else _keep(node, graph, [*parts[:place], node.input(1), *parts[place:]])
            )
        case "SequenceErase":
            place = _position(node, 1, len(parts), graph, default=len(parts) - 1)
            return (
                place
                if place is None
                else _keep(node, graph, [*parts[:place], *parts[place + 1 :]])
            )
        case "SequenceAt":
            place = _position(node, 1, len(parts), graph, default=0)
            if place is None or place >= len(parts):
                return None
            return [make_node("Identity", [parts[place]], node.outputs)]
    return None


def _keep(node: Node, graph: OnnxGraph, parts: list[str]) -> list[Node]:
    graph.sequences[node.outputs[0]] = parts
    return []


def _position(node: Node, index: int, length: int, graph: OnnxGraph, default: int) -> int | None:
    name = node.input(index)
    if not name:
        return default
    if name not in graph.constants:
        return None
    place = int(graph.constants[name].item())
    return place + length if place < 0 else place


def _optional(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """An optional that is there is the tensor itself; one that is not is an empty name."""
    source = node.input(0)
    if node.op == "OptionalHasElement":
        graph.set_constant(node.outputs[0], np.array(bool(source)))
        return []
    if not source:
        graph.replace(node.outputs[0], "")
        return []
    if source in graph.sequences:
        return _keep(node, graph, graph.sequences[source])
    graph.replace(node.outputs[0], source)
    return []


def _split(node: Node, graph: OnnxGraph) -> list[Node] | None:
    shape = graph.shape(node.input(0))
    sizes_name = node.input(1)
    if shape is None or (sizes_name and sizes_name not in graph.constants):
        return None
    axis = node.attribute("axis", 0) % len(shape)
    length = shape[axis]
    if not sizes_name:
        sizes = [1] * length
    elif graph.constants[sizes_name].ndim:
        sizes = [int(size) for size in graph.constants[sizes_name]]
    else:
        step = int(graph.constants[sizes_name].item())
        sizes = [min(step, length - start) for start in range(0, length, step)]
    write = Writer(node, graph)
    parts = write.split(node.input(0), sizes, axis)
    if not sizes_name and not node.attribute("keepdims", 1):
        parts = [write.squeeze(part, axis) for part in parts]
    graph.sequences[node.outputs[0]] = parts
    return write.nodes


def _concat(node: Node, graph: OnnxGraph, parts: list[str]) -> list[Node]:
    write = Writer(node, graph)
    axis = node.attribute("axis")
    if node.attribute("new_axis", 0):
        parts = [write.unsqueeze(part, axis) for part in parts]
    return write.finish("Concat", *parts, axis=axis)
