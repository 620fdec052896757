"""Dropout while a network is trained: masks are inputs, the same for forward and backward."""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx import TensorProto, helper

from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph
from jointdnn_tvm.runtime.masks import DropoutMask


@dataclass
class MaskDropout:
    """Multiplies by a mask, and what is kept by 1 / (1 - ratio)."""

    masks: list[DropoutMask] = field(default_factory=list)

    def __call__(self, node: Node, graph: OnnxGraph) -> list[Node] | None:
        """The nodes in the place of a dropout, at inference or not, that has a ratio."""
        value = node.input(0)
        shape, dtype = graph.shape(value), graph.dtype(value)
        if node.op != "Dropout" or shape is None or dtype is None or any(node.outputs[1:]):
            return None
        ratio = _ratio(node, graph)
        if not 0 < ratio < 1:
            return None
        mask = DropoutMask(graph.fresh(f"{node.outputs[0]}.mask"), shape, ratio)
        graph.types[mask.name] = helper.make_tensor_type_proto(TensorProto.UINT8, shape)
        self.masks.append(mask)
        write = Writer(node, graph)
        kept = write("Mul", value, write.cast(mask.name, dtype))
        return write.finish("Mul", kept, write.like(1 / (1 - ratio), value))


def _ratio(node: Node, graph: OnnxGraph) -> float:
    if node.opset < 12:
        return float(node.attribute("ratio", 0.5))
    given = graph.constants.get(node.input(1))
    return 0.5 if given is None else float(given.item())
