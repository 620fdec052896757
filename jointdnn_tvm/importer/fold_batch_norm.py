"""Folds batch normalisation, and scales and shifts per channel, into the convolution before them.

A batch normalisation with constant statistics is `x * scale + shift` per channel. So are a
multiplication and an addition of a constant. What follows a convolution that nobody else reads
goes into its weights; what follows another scale and shift is merged with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from jointdnn_tvm.importer.check_model import used_names
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph, make_node

Array = np.ndarray[Any, Any]


@dataclass
class _Affine:
    """`source * scale + shift` per channel; each array has one element or one a channel."""

    source: str
    output: str
    scale: Array
    shift: Array
    node: Node | None  # the node that it stands for, while it stands for one only


def fold_batch_norm(graph: OnnxGraph) -> None:
    """Rewrites the graph in place. Needs the types of all values."""
    uses = Counter(name for node in graph.nodes for name in used_names(node.proto))
    uses.update(graph.outputs)
    done: list[Node | _Affine] = []
    producer: dict[str, int] = {}
    for node in graph.nodes:
        affine = _as_affine(node, graph)
        place = producer.get(affine.source) if affine and uses[affine.source] == 1 else None
        merged = None
        if affine is not None and place is not None:
            merged = _merge(done[place], affine, graph)
        if merged is not None and affine is not None and place is not None:
            done[place] = merged
            producer[affine.output] = place
        else:
            producer.update((name, len(done)) for name in node.outputs if name)
            done.append(affine or node)
    graph.nodes = [
        node
        for item in done
        for node in (_as_nodes(item, graph) if isinstance(item, _Affine) else [item])
    ]


def _as_affine(node: Node, graph: OnnxGraph) -> _Affine | None:
    if node.op == "BatchNormalization":
        return _batch_norm(node, graph)
    if node.op not in ("Add", "Sub", "Mul", "Div") or node.attribute("broadcast"):
        return None
    left, right = node.inputs
    if left in graph.constants and node.op in ("Add", "Mul"):
        left, right = right, left
    if right not in graph.constants or left in graph.constants:
        return None
    value = _per_channel(graph.constants[right], graph.shape(left))
    dtype = graph.dtype(left)
    if value is None or dtype is None or dtype.kind != "f":
        return None
    one, zero = np.ones(1), np.zeros(1)
    match node.op:
        case "Add":
            scale, shift = one, value
        case "Sub":
            scale, shift = one, -value
        case "Mul":
            scale, shift = value, zero
        case _:
            if not value.all():
                return None
            scale, shift = 1 / value, zero
    return _Affine(left, node.outputs[0], scale, shift, node)


def _batch_norm(node: Node, graph: OnnxGraph) -> _Affine | None:
    names = node.inputs[1:]
    if node.attribute("training_mode") or any(node.outputs[1:]):
        return None
    if any(name not in graph.constants for name in names) or graph.shape(node.input(0)) is None:
        return None
    scale, bias, mean, variance = (graph.constants[name].astype(np.float64) for name in names)
    scale = scale / np.sqrt(variance + node.attribute("epsilon", 1e-5))
    return _Affine(node.input(0), node.outputs[0], scale, bias - mean * scale, None)


def _per_channel(array: Array, shape: tuple[int, ...] | None) -> Array | None:
    """The constant as one number, or as one a channel (dimension 1) of a tensor of this shape."""
    if shape is None or array.ndim > len(shape):
        return None
    if array.size == 1:
        return array.reshape(1).astype(np.float64)
    full = (1,) * (len(shape) - array.ndim) + array.shape
    if len(shape) < 2 or full[1] != shape[1] or array.size != shape[1]:
        return None
    return array.reshape(-1).astype(np.float64)


def _merge(before: Node | _Affine, after: _Affine, graph: OnnxGraph) -> Node | _Affine | None:
    if isinstance(before, _Affine):
        scale = before.scale * after.scale
        shift = before.shift * after.scale + after.shift
        return _Affine(before.source, after.output, scale, shift, None)
    if before.op in ("Conv", "ConvTranspose"):
        return _into_convolution(before, after, graph)
    return None


def _into_convolution(node: Node, affine: _Affine, graph: OnnxGraph) -> Node | None:
    weight = graph.constants.get(node.input(1))
    bias_name = node.input(2)
    if weight is None or (bias_name and bias_name not in graph.constants):
        return None
    groups = node.attribute("group", 1)
    transposed = node.op == "ConvTranspose"
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    scale = np.broadcast_to(affine.scale, channels)
    bias = graph.constants[bias_name].astype(np.float64) if bias_name else np.zeros(channels)
    if (affine.scale == 1).all():
        weight_name = node.input(1)
    else:
        factor = scale.reshape(groups, 1, -1) if transposed else scale.reshape(channels, 1)
        rows = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
        flat = rows * factor[..., None] if transposed else weight.reshape(channels, -1) * factor
        scaled = flat.reshape(weight.shape).astype(weight.dtype)
        weight_name = graph.constant(scaled, f"{node.input(1)}_scaled")
    shifted = (bias * scale + affine.shift).astype(weight.dtype)
    bias_name = graph.constant(shifted, f"{bias_name or node.input(1)}_shifted")
    return node.with_names([node.input(0), weight_name, bias_name], [affine.output])


def _as_nodes(affine: _Affine, graph: OnnxGraph) -> list[Node]:
    if affine.node is not None:
        return [affine.node]
    dtype, rank = graph.dtype(affine.source), len(graph.shape(affine.source) or ())
    steps = []
    if not (affine.scale == 1).all():
        steps.append(("Mul", affine.scale))
    if affine.shift.any() or not steps:
        steps.append(("Add", affine.shift))
    nodes, source = [], affine.source
    for op, value in steps:
        output = affine.output if op == steps[-1][0] else graph.fresh(affine.output)
        shape = (-1,) + (1,) * (rank - 2) if value.size > 1 else ()
        constant = graph.constant(value.reshape(shape).astype(dtype), f"{affine.output}_{op}")
        nodes.append(make_node(op, [source, constant], [output]))
        graph.types[output] = graph.types[affine.source]
        source = output
    return nodes
