"""`Sum` of many becomes additions: TVM would stack the operands and reduce the stack."""

from __future__ import annotations

from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph, make_node

_BINARY = {"Sum": "Add", "Max": "Max", "Min": "Min"}


def split_sum(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """A chain of binary operators for `Sum`, and for `Max` and `Min` of more than two."""
    binary = _BINARY.get(node.op)
    if binary is None or len(node.inputs) < 2 or (binary == node.op and len(node.inputs) == 2):
        return None
    first, *rest = node.inputs
    nodes = []
    for count, name in enumerate(rest, start=1):
        output = node.outputs[0] if count == len(rest) else graph.fresh(node.outputs[0])
        nodes.append(make_node(binary, [first, name], [output]))
        first = output
    return nodes
