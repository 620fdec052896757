"""Rewrites of single nodes into the plain form that imports well."""

from __future__ import annotations

import math

import numpy as np

from jointdnn_tvm.importer.graph import Graph, Node, make_node


def canonical_node(node: Node, graph: Graph) -> list[Node] | None:
    """Drops nodes that do nothing at inference; a sum of two becomes an addition."""
    if node.op in ("Shape", "Size"):
        shape = graph.shape(node.input(0))
        if shape is None:
            return None
        value = shape[node.attribute("start", 0) : node.attribute("end")]
        value = math.prod(shape) if node.op == "Size" else value
        graph.set_constant(node.outputs[0], np.array(value, np.int64))
        return []
    if node.op in ("Identity", "Dropout") and len([o for o in node.outputs if o]) == 1:
        graph.replace(node.outputs[0], node.input(0))
        return []
    if node.op == "Sum" and len(node.inputs) == 1:
        graph.replace(node.outputs[0], node.input(0))
        return []
    if node.op == "Sum" and len(node.inputs) > 1:
        first, *rest = node.inputs
        nodes = []
        for index, name in enumerate(rest):
            last = index == len(rest) - 1
            output = node.outputs[0] if last else graph.fresh(node.outputs[0])
            nodes.append(make_node("Add", [first, name], [output]))
            first = output
        return nodes
    return None
