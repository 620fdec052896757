"""Old spellings of operators become the current ones."""

from __future__ import annotations

import math

from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph

_BROADCASTING = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor")
_SOFTMAX = ("Hardmax", "LogSoftmax", "Softmax")


def modernise(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """Broadcasting by attribute (before version 7), softmax over flattened axes (before 13)."""
    if node.op in _BROADCASTING and node.opset < 7 and not node.domain:
        return _broadcast(node, graph)
    if node.op in _SOFTMAX and node.opset < 13 and not node.domain:
        return _softmax(node, graph)
    if node.op == "PRelu" and node.opset < 7:
        return _slopes(node, graph)
    return None


def _slopes(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """One slope a channel used to be a plain list."""
    shape, slopes = graph.shape(node.input(0)), graph.shape(node.input(1))
    if shape is None or slopes is None or len(slopes) != 1 or len(shape) < 3 or slopes == (1,):
        return None
    write = Writer(node, graph)
    slope = write.unsqueeze(node.input(1), *range(1, len(shape) - 1))
    return write.finish("PRelu", node.input(0), slope)


def _broadcast(node: Node, graph: OnnxGraph) -> list[Node] | None:
    left, right = graph.shape(node.input(0)), graph.shape(node.input(1))
    if left is None or right is None:
        return None
    write = Writer(node, graph)
    operand = node.input(1)
    axis = node.attribute("axis")
    if node.attribute("broadcast", 0) and axis is not None:
        after = len(left) - axis % len(left) - len(right)
        if after > 0:
            operand = write.unsqueeze(operand, *range(len(right), len(right) + after))
    return write.finish(node.op, node.input(0), operand)


def _softmax(node: Node, graph: OnnxGraph) -> list[Node] | None:
    shape = graph.shape(node.input(0))
    if shape is None:
        return None
    axis = node.attribute("axis", 1)
    axis += len(shape) if axis < 0 else 0
    write = Writer(node, graph)
    solid = [i for i in range(axis, len(shape)) if shape[i] != 1]
    if len(solid) <= 1:
        return write.finish(node.op, node.input(0), axis=solid[0] if solid else axis)
    flat = write.ints(math.prod(shape[:axis]), math.prod(shape[axis:]))
    result = write(node.op, write("Reshape", node.input(0), flat), axis=1)
    return write.finish("Reshape", result, write.ints(*shape))
