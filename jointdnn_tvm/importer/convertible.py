"""Which nodes have a converter to Relax that can be relied on."""

from __future__ import annotations

import numpy as np
from tvm.relax.frontend.onnx import onnx_frontend

from jointdnn_tvm.importer.convert_operators import CONVERTERS
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph

_DOMAINS = ("", "com.microsoft")


def is_convertible(node: Node, graph: OnnxGraph) -> bool:
    """Whether there is a converter, ours or TVM's, that gets this node right."""
    if node.domain not in _DOMAINS:
        return False
    if node.op in CONVERTERS:
        return True
    if node.op not in onnx_frontend._get_convert_map():
        return False
    match node.op:
        case "Attention":  # TVM's is onnxruntime's contrib operator of the same name
            return node.domain != ""
        case "LayerNormalization":  # TVM's gives no mean and deviation
            return not any(node.outputs[1:])
        case "Elu" | "Selu" | "ThresholdedRelu":  # TVM's constants are of float32
            return graph.dtype(node.input(0)) == np.dtype(np.float32)
        case "RMSNormalization":  # TVM's fails unless it runs over the last axis alone
            rank = len(graph.shape(node.input(0)) or ())
            return node.attribute("axis", -1) in (-1, rank - 1)
    return True
