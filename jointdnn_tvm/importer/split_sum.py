"""`Sum` of many becomes additions: TVM would stack the operands and reduce the stack."""

from __future__ import annotations

from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph

_BINARY = {"Max": "Max", "Mean": "Add", "Min": "Min", "Sum": "Add"}


def split_sum(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """A chain of binary operators for an operator on any number of values."""
    binary = _BINARY.get(node.op)
    if binary is None or len(node.inputs) < 2 or (binary == node.op and len(node.inputs) == 2):
        return None
    write = Writer(node, graph)
    total, *rest = node.inputs
    for name in rest[:-1]:
        total = write(binary, total, name)
    if node.op != "Mean":
        return write.finish(binary, total, rest[-1])
    share = write.like(1 / len(node.inputs), node.inputs[0])
    return write.finish("Mul", write(binary, total, rest[-1]), share)
