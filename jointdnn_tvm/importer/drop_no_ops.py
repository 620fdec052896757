"""Drops nodes that do nothing at inference, or whose answer is known from types alone."""

from __future__ import annotations

import math

import numpy as np

from jointdnn_tvm.importer.onnx_graph import Array, Node, OnnxGraph


def drop_no_op(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """Identity, dropout at inference, casts to the same type, `Shape` of a static shape."""
    value = _known_value(node, graph)
    if value is not None:
        graph.set_constant(node.outputs[0], value)
        return []
    if _is_no_op(node, graph):
        graph.replace(node.outputs[0], node.input(0))
        return []
    return None


def _known_value(node: Node, graph: OnnxGraph) -> Array | None:
    """What follows from the type of the input alone."""
    shape = graph.shape(node.input(0))
    if shape is None:
        return None
    match node.op:
        case "Shape":
            return np.array(shape[node.attribute("start", 0) : node.attribute("end")], np.int64)
        case "Size":
            return np.array(math.prod(shape), np.int64)
        case "EyeLike":
            dtype = graph.dtype(node.outputs[0])
            return np.eye(*shape, node.attribute("k", 0), dtype) if len(shape) == 2 else None
    return None


def _is_no_op(node: Node, graph: OnnxGraph) -> bool:
    match node.op:
        case "Identity":
            return True
        case "Dropout":
            return not is_dropping(node, graph) and not any(node.outputs[1:])
        case "Cast" | "CastLike":
            dtype = graph.dtype(node.input(0))
            return dtype is not None and dtype == graph.dtype(node.outputs[0])
        case "Slice" | "Reshape" | "Expand" | "Pad" | "Tile" | "Squeeze" | "Unsqueeze" | "Flatten":
            shape = graph.shape(node.input(0))
            steps = graph.constants.get(node.input(4)) if node.op == "Slice" else None
            forward = steps is None or bool((steps > 0).all())
            return forward and shape is not None and shape == graph.shape(node.outputs[0])
        case "Sum" | "Max" | "Min" | "Mean" | "Concat":
            return len(node.inputs) == 1
    return False


def is_dropping(node: Node, graph: OnnxGraph) -> bool:
    """Whether a `Dropout` may drop something: in training mode, or in a mode not known yet."""
    if node.attribute("is_test", 0):
        return False
    mode, ratio = node.input(2), node.input(1)
    training = graph.constants.get(mode, True) if mode else node.opset < 7
    share = graph.constants.get(ratio, True) if ratio else node.attribute("ratio", 0.5)
    return bool(training) and bool(share)
