"""Drops nodes that do nothing at inference, or whose answer is known from types alone."""

from __future__ import annotations

import math

import numpy as np

from jointdnn_tvm.importer.graph import Graph, Node


def drop_no_op(node: Node, graph: Graph) -> list[Node] | None:
    """Identity, dropout at inference, casts to the same type, `Shape` of a static shape."""
    if node.op in ("Shape", "Size"):
        return _known_shape(node, graph)
    if _is_no_op(node, graph):
        graph.replace(node.outputs[0], node.input(0))
        return []
    return None


def _known_shape(node: Node, graph: Graph) -> list[Node] | None:
    shape = graph.shape(node.input(0))
    if shape is None:
        return None
    value = shape[node.attribute("start", 0) : node.attribute("end")]
    answer = math.prod(shape) if node.op == "Size" else value
    graph.set_constant(node.outputs[0], np.array(answer, np.int64))
    return []


def _is_no_op(node: Node, graph: Graph) -> bool:
    match node.op:
        case "Identity":
            return True
        case "Dropout":
            training = graph.constants.get(node.input(2), np.array(node.opset < 7))
            is_test = bool(node.attribute("is_test", 0))
            return (is_test or not training) and not any(node.outputs[1:])
        case "Cast" | "CastLike":
            dtype = graph.dtype(node.input(0))
            return dtype is not None and dtype == graph.dtype(node.outputs[0])
        case "Sum" | "Max" | "Min" | "Mean" | "Concat":
            return len(node.inputs) == 1
    return False
