"""Convolutions and pools over one spatial dimension become those over two, of height one."""

from __future__ import annotations

from jointdnn_tvm.importer.explicit_padding import kernel_shape, with_attributes
from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph, make_node

_LIFTED = ("AveragePool", "Conv", "ConvTranspose", "LpPool", "MaxPool")


def lift_to_2d(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """Adds the height, runs the node over two dimensions, drops the height."""
    shape = graph.shape(node.input(0))
    if node.op not in _LIFTED or shape is None or len(shape) != 3 or any(node.outputs[1:]):
        return None
    kernel = kernel_shape(node, graph)
    if kernel is None or node.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    if node.attribute("output_shape"):
        return None
    pads = node.attribute("pads", [0, 0])
    write = Writer(node, graph)
    inputs = [write.unsqueeze(node.input(0), 2)]
    if node.op.startswith("Conv"):
        inputs.append(write.unsqueeze(node.input(1), 2))
        inputs += node.inputs[2:]
    options: dict[str, list[int] | None] = {
        "kernel_shape": [1, *kernel],
        "strides": [1, *node.attribute("strides", [1])],
        "pads": [0, pads[0], 0, pads[1]],
        "auto_pad": None,
    }
    for name, neutral in (("dilations", 1), ("output_padding", 0)):
        value = node.attribute(name)
        options[name] = [neutral, *value] if value else None
    lifted = with_attributes(node, **options)
    output = graph.fresh(node.outputs[0])
    write.nodes.append(lifted.with_names(inputs, [output]))
    write.nodes.append(make_node("Squeeze", [output, write.ints(2)], node.outputs))
    return write.nodes
