"""Local response normalisation becomes a 1x1 convolution that sums the neighbouring channels."""

from __future__ import annotations

import numpy as np

from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph


def expand_lrn(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """`x / (bias + alpha / size * sum of squares) ** beta` over `size` channels around each."""
    shape, dtype = graph.shape(node.input(0)), graph.dtype(node.input(0))
    if node.op != "LRN" or shape is None or dtype is None or len(shape) != 4:
        return None
    channels, size = shape[1], node.attribute("size")
    before = (size - 1) // 2
    offset = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    window = (offset >= -before) & (offset <= size - 1 - before)
    kernel = window * (node.attribute("alpha", 1e-4) / size)
    bias = np.full(channels, node.attribute("bias", 1.0))
    write = Writer(node, graph)
    value = node.input(0)
    weights = write.like(kernel[:, :, None, None], value), write.like(bias, value)
    base = write("Conv", write("Mul", value, value), *weights)
    if node.attribute("beta", 0.75) == 0.75:  # a square root is cheaper than a power
        root = write("Sqrt", base)
        power = write("Mul", root, write("Sqrt", root))
    else:
        power = write("Pow", base, write.like(node.attribute("beta"), value))
    return write.finish("Div", value, power)
