"""One walk over the graph: infer types, evaluate what is constant, rewrite the rest.

Nodes are taken in order. A rewrite answers with the nodes to put in a node's place; they are
taken next, so a rewrite may produce what another one rewrites further.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.defs import OpSchema

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.canonical import canonical_node
from jointdnn_tvm.importer.graph import Graph, Node

MAX_TENSOR_BYTES = 16 << 30
"""No tensor, input, weight or activation, may take more than this."""

_SMALL = 4096
"""Constants of at most this many elements are shown to shape inference."""

_RANDOM = {
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}

Rewrite = Callable[[Node, Graph], "list[Node] | None"]
REWRITES: tuple[Rewrite, ...] = (canonical_node,)


def simplify(graph: Graph) -> None:
    """Rewrites the graph in place until no rule applies.

    Raises:
        ModelError: a type does not fit, or a tensor would be larger than `MAX_TENSOR_BYTES`.
    """
    pending = deque(graph.nodes)
    graph.nodes = []
    while pending:
        node = _with_resolved_inputs(pending.popleft(), graph)
        infer_types(node, graph)
        if _is_constant(node, graph):
            _evaluate(node, graph)
            continue
        for rewrite in REWRITES:
            replacement = rewrite(node, graph)
            if replacement is not None:
                pending.extendleft(reversed(replacement))
                break
        else:
            graph.nodes.append(node)
    graph.outputs = [graph.resolve(name) for name in graph.outputs]


def _with_resolved_inputs(node: Node, graph: Graph) -> Node:
    names = [graph.resolve(name) for name in node.inputs]
    if names == node.inputs:
        return node
    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    proto.input[:] = names
    return Node(proto, node.opset)


def infer_types(node: Node, graph: Graph) -> None:
    """Adds the types of a node's outputs to the graph, as far as ONNX can tell them."""
    schema = schema_of(node)
    if schema is None or any(name and name not in graph.types for name in node.inputs):
        return
    data = {
        name: numpy_helper.from_array(graph.constants[name], name)
        for name in node.inputs
        if name in graph.constants and graph.constants[name].size <= _SMALL
    }
    types = {name: graph.types[name] for name in node.inputs if name}
    opsets = [helper.make_opsetid(node.proto.domain, node.opset)]
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            schema, node.proto, types, data, opset_imports=opsets
        )
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{node.describe()} does not fit its inputs: {reason}; check the model, or the "
            "shapes given with --shape"
        ) from error
    for name, kind in inferred.items():
        if name:
            graph.types[name] = kind
            check_size(name, graph)


def schema_of(node: Node) -> OpSchema | None:
    """The ONNX schema of a node's operator, or None for an operator that ONNX does not know."""
    try:
        return onnx.defs.get_schema(node.op, node.opset, node.proto.domain)
    except onnx.defs.SchemaError:
        return None


def check_size(name: str, graph: Graph) -> None:
    """Refuses a tensor that cannot be meant, before anything is allocated."""
    shape, dtype = graph.shape(name), graph.dtype(name)
    if shape is None or dtype is None:
        return
    size_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size_bytes > MAX_TENSOR_BYTES:
        raise ModelError(
            f"tensor '{name}' of shape {list(shape)} would take {size_bytes / 1e9:.3g} GB, more "
            f"than the {MAX_TENSOR_BYTES >> 30} GiB allowed; check the model, or the shapes given "
            "with --shape"
        )


def _is_constant(node: Node, graph: Graph) -> bool:
    if node.op in _RANDOM or any(a.type == onnx.AttributeProto.GRAPH for a in node.proto.attribute):
        return False
    return all(not name or name in graph.constants for name in node.inputs)


def _evaluate(node: Node, graph: Graph) -> None:
    from onnx.reference import ReferenceEvaluator

    names = [name for name in dict.fromkeys(node.inputs) if name]
    outputs = [name for name in node.outputs if name]
    proto = helper.make_graph(
        [node.proto],
        "constant",
        [helper.make_value_info(name, graph.types[name]) for name in names],
        [helper.make_value_info(name, onnx.TypeProto()) for name in outputs],
    )
    try:
        evaluator = ReferenceEvaluator(proto, opsets={node.proto.domain: node.opset})
        values = evaluator.run(None, {name: graph.constants[name] for name in names})
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{node.describe()} is constant but cannot be evaluated: {reason}"
        ) from error
    for name, value in zip(outputs, values, strict=True):
        graph.set_constant(name, np.asarray(value))
