"""Replaces operators that have no converter by their function bodies.

A body comes from the model file itself (its local functions) or from the ONNX specification,
which defines many operators as functions of others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from jointdnn_tvm.importer.convertible import is_convertible
from jointdnn_tvm.importer.infer_types import schema_of
from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import RULE_OPSET, Node, OnnxGraph


def expand_function(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """The nodes of the operator's function body, if it has one and needs it."""
    function = graph.functions.get((node.domain, node.op))
    if function is None and not is_convertible(node, graph):
        function = _specified(node, graph)
    if function is None:
        return None
    nodes = _inline(node, function, graph)
    return _guard_softmax(nodes, graph) if node.op == "Attention" and node.input(3) else nodes


def _specified(node: Node, graph: OnnxGraph) -> onnx.FunctionProto | None:
    schema: Any = schema_of(node)  # its stub lacks the functions
    if schema is None:
        return None
    if schema.has_function:
        version = _best(schema.function_opset_versions, node.opset)
        data = schema.get_function_with_opset_version(version)
    elif schema.has_context_dependent_function:
        version = _best(schema.context_dependent_function_opset_versions, node.opset)
        kinds = [graph.types.get(name, onnx.TypeProto()) for name in node.inputs]
        data = schema.get_context_dependent_function_with_opset_version(
            version, node.proto.SerializeToString(), [k.SerializeToString() for k in kinds]
        )
    else:
        return None
    return onnx.FunctionProto.FromString(data) if data else None


def _best(versions: list[int], opset: int) -> int:
    return max((v for v in versions if v <= opset), default=min(versions))


def _inline(node: Node, function: onnx.FunctionProto, graph: OnnxGraph) -> list[Node]:
    prefix = graph.fresh(node.outputs[0] or node.op)
    names = {"": ""}
    for index, name in enumerate(function.input):
        names[name] = node.input(index)
    for name, actual in zip(function.output, node.outputs, strict=False):
        names[name] = actual or f"{prefix}.{name}"
    for inner in function.node:
        for name in inner.output:
            names.setdefault(name, f"{prefix}.{name}")
    attributes = {a.name: a for a in function.attribute_proto}
    attributes.update(_defaults(node))
    attributes.update((a.name, a) for a in node.proto.attribute)
    versions = {item.domain: item.version for item in function.opset_import}
    nodes = []
    for inner in function.node:
        proto = onnx.NodeProto()
        proto.CopyFrom(inner)
        _bind(proto, names, attributes)
        version = versions.get(proto.domain) or graph.versions.get(proto.domain, RULE_OPSET)
        nodes.append(Node(proto, version))
    return nodes


def _guard_softmax(nodes: list[Node], graph: OnnxGraph) -> list[Node]:
    """A row that a mask rules out whole attends to nothing. The body would give no number."""
    guarded = []
    for node in nodes:
        if node.op != "Softmax":
            guarded.append(node)
            continue
        raw = graph.fresh(node.outputs[0])
        guarded.append(node.with_names(node.inputs, [raw]))
        write = Writer(node, graph)
        zero = write("CastLike", graph.constant(np.float32(0)), raw)
        guarded += write.finish("Where", write("IsNaN", raw), zero, raw)
    return guarded


def _defaults(node: Node) -> dict[str, onnx.AttributeProto]:
    schema = schema_of(node)
    if schema is None:
        return {}
    return {
        name: attribute.default_value
        for name, attribute in schema.attributes.items()
        if attribute.default_value.name
    }


def _bind(
    proto: onnx.NodeProto, names: dict[str, str], attributes: dict[str, onnx.AttributeProto]
) -> None:
    """Gives a node of a body the caller's values and attributes, in its subgraphs too."""
    proto.input[:] = [names.get(name, name) for name in proto.input]
    proto.output[:] = [names.get(name, name) for name in proto.output]
    bound = []
    for attribute in proto.attribute:
        if attribute.ref_attr_name:
            actual = attributes.get(attribute.ref_attr_name)
            if actual is None:
                continue
            copy = onnx.AttributeProto()
            copy.CopyFrom(actual)
            copy.name = attribute.name
            bound.append(copy)
            continue
        bound.append(attribute)
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                _bind(inner, names, attributes)
            for item in attribute.g.output:
                item.name = names.get(item.name, item.name)
    copies = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in bound]
    del proto.attribute[:]
    proto.attribute.extend(copies)
