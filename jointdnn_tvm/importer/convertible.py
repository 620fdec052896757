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
    if node.op not in CONVERTERS and node.op not in onnx_frontend._get_convert_map():
        return False
    return not _is_wrong_in_tvm(node, graph)


def _is_wrong_in_tvm(node: Node, graph: OnnxGraph) -> bool:
    """Cases that TVM's converters take without a word, or of which they die without telling."""
    rank = len(graph.shape(node.input(0)) or ())
    dtype = graph.dtype(node.input(0))
    match node.op:
        case "Attention":  # TVM's is onnxruntime's contrib operator of the same name
            return node.domain == ""
        case "BatchNormalization":  # statistics of the batch
            return bool(node.attribute("training_mode", 0)) or any(node.outputs[1:])
        case "Dropout":  # one that drops
            return True
        case "Elu" | "Selu" | "ThresholdedRelu":  # its constants are of float32
            return dtype != np.dtype(np.float32)
        case "LayerNormalization":  # it gives no mean and deviation
            return any(node.outputs[1:])
        case "MaxUnpool":
            return bool(node.input(2))
        case "NonMaxSuppression":  # it takes a number of boxes that it does not know for 0
            return node.input(2) not in graph.constants
        case "RMSNormalization":  # it fails unless it runs over the last axis alone
            return node.attribute("axis", -1) not in (-1, rank - 1)
        case "RoiAlign":
            return bool(node.attribute("mode", "avg") == "max")
        case "TopK":
            return dtype is not None and dtype.kind == "u"
    return False
