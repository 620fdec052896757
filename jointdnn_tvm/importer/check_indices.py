"""Indices out of range are refused: a kernel would read or write where they point.

Constant ones are looked at here. The others pass through a small kernel before the operator, and
a query in which one is out of range fails. Both ways, negative ones are made positive.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph

_NAME = "checked_indices"


def settle_indices(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """Makes constant indices positive.

    Raises:
        ModelError: one is out of range.
    """
    inputs = list(node.inputs)
    for place, limits in _limits(node, graph).items():
        indices = graph.constants.get(node.input(place))
        if indices is None or indices.size == 0:
            continue
        if (indices < np.negative(limits)).any() or (indices >= limits).any():
            raise ModelError(
                f"an index of {node.describe()} is out of range: {_range(limits)}; export the "
                "model again, or check the shapes given with --shape"
            )
        if (indices < 0).any():
            positive = np.where(indices < 0, indices + limits, indices).reshape(indices.shape)
            inputs[place] = graph.constant(positive.astype(indices.dtype))
    return None if inputs == list(node.inputs) else [node.with_names(inputs, node.outputs)]


def check_indices(node: Node, graph: OnnxGraph, builder: Any, inputs: list[Any]) -> list[Any]:
    """The operator's Relax inputs, with a check put before indices that come with the query."""
    checked = list(inputs)
    for place, limits in _limits(node, graph).items():
        if node.input(place) in graph.constants or graph.shape(node.input(place)) is None:
            continue
        told = f"an index of {node.op} is out of range: {_range(limits)}; check the query's inputs"
        checked[place] = builder.emit_te(
            _checked,
            inputs[place],
            limits,
            told,
            primfunc_name_hint=_NAME,
            primfunc_attrs={"tirx.is_scheduled": True},  # its loop cannot leave out the check
        )
    return checked


def _limits(node: Node, graph: OnnxGraph) -> dict[int, list[int]]:
    """For each input that holds indices, by its place, how many things they choose from.

    With several numbers, the last axis of the indices goes through them.
    """
    shape = graph.shape(node.input(0))
    if shape is None:
        return {}
    match node.op:
        case "Gather" | "GatherElements" | "Scatter" | "ScatterElements":
            return {1: [shape[node.attribute("axis", 0)]]} if shape else {}
        case "GatherND" | "ScatterND":
            indices, batch = graph.shape(node.input(1)), node.attribute("batch_dims", 0)
            return {1: list(shape[batch:][: indices[-1]])} if indices and indices[-1] else {}
        case "MaxUnpool":
            result = graph.shape(node.outputs[0])
            return {} if result is None else {1: [math.prod(result)]}
        case "RoiAlign":
            return {2: [shape[0]]}
        case "EmbedLayerNormalization":
            tables = {0: 2, 1: 4, 8: 3}
            rows = {place: graph.shape(node.input(table)) for place, table in tables.items()}
            return {
                place: [found[0]] for place, found in rows.items() if found and node.input(place)
            }
    return {}


def _range(limits: list[int]) -> str:
    ranges = (f"{-limit} to {limit - 1}" for limit in limits)
    return f"it must lie in {', '.join(ranges)}"


def _checked(indices: te.Tensor, limits: list[int], told: str) -> te.Tensor:
    """A copy of the indices, none of them negative; an error if one is out of range."""
    count = math.prod(int(dim) for dim in indices.shape)

    def write(sources: Any, results: Any) -> Any:
        source, result = T.buffer_proxy(sources[0]), T.buffer_proxy(results[0])
        with IRBuilder() as builder, T.serial(0, count // len(limits)) as row:
            for column, number in enumerate(limits):
                place = row * len(limits) + column
                index, limit = source[place], tirx.const(number, indices.dtype)
                zero = tirx.const(0, indices.dtype)
                with T.Assert(tirx.all(index >= -limit, index < limit), told, "IndexError"):
                    result[place] = index + tirx.Select(index < zero, limit, zero)
        return builder.get()

    return te.extern(
        [indices.shape],
        [indices],
        write,
        dtype=indices.dtype,
        out_buffers=[tirx.decl_buffer(indices.shape, indices.dtype, _NAME, layout=None)],
        name=_NAME,
    )
