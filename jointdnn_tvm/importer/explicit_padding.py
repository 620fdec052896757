"""Padding that is derived from shapes becomes numbers, for convolutions and pools."""

from __future__ import annotations

import onnx
from onnx import helper

from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph

_WINDOWS = ("Conv", "AveragePool", "LpPool", "MaxPool")


def explicit_padding(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """Replaces `auto_pad` by `pads`."""
    mode = node.attribute("auto_pad", "NOTSET")
    shape = graph.shape(node.input(0))
    if node.op not in _WINDOWS or mode == "NOTSET" or shape is None:
        return None
    spatial = shape[2:]
    kernel = kernel_shape(node, graph)
    if kernel is None:
        return None
    pads = [0] * (2 * len(spatial))
    if mode != "VALID":
        strides = node.attribute("strides", [1] * len(spatial))
        dilations = node.attribute("dilations", [1] * len(spatial))
        for axis, size in enumerate(spatial):
            extent = (kernel[axis] - 1) * dilations[axis] + 1
            outputs = -(-size // strides[axis])
            total = max(0, (outputs - 1) * strides[axis] + extent - size)
            small = total // 2
            begin = small if mode == "SAME_UPPER" else total - small
            pads[axis], pads[axis + len(spatial)] = begin, total - begin
    return [with_attributes(node, auto_pad=None, pads=pads)]


def kernel_shape(node: Node, graph: OnnxGraph) -> list[int] | None:
    """The window of a convolution or pool."""
    declared: list[int] | None = node.attribute("kernel_shape")
    if declared is None and node.input(1):
        weight = graph.shape(node.input(1))
        declared = None if weight is None else list(weight[2:])
    return declared


def with_attributes(node: Node, **attributes: list[int] | int | None) -> Node:
    """The same node with attributes set, or left out where the value is None."""
    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    kept = [a for a in node.proto.attribute if a.name not in attributes]
    del proto.attribute[:]
    proto.attribute.extend(kept)
    proto.attribute.extend(
        helper.make_attribute(name, value)
        for name, value in attributes.items()
        if value is not None
    )
    return Node(proto, node.opset)
