"""Converters of ONNX operators that TVM converts badly, or not at all, to Relax.

Each takes the node, the graph (for constants and shapes), the block builder and the Relax
inputs, and returns a Relax expression, or None to leave the node to TVM's converter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph

Converter = Callable[[Node, OnnxGraph, Any, Any], Any]


def _clip(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
    if graph.dtype(node.input(0)) is None:
        return None
    bounds = []
    for index, (attribute, unbounded) in enumerate((("min", -np.inf), ("max", np.inf)), start=1):
        name = node.input(index)
        if name and name not in graph.constants:
            return None
        value = graph.constants[name].item() if name else node.attribute(attribute, unbounded)
        bounds.append(unbounded if np.isnan(value) else value)
    low, high = bounds
    value, dtype = inputs[0], str(graph.dtype(node.input(0)))
    if low > high:
        return relax.op.minimum(
            relax.op.maximum(value, relax.const(low, dtype)), relax.const(high, dtype)
        )
    if low == 0 and high == np.inf:
        return relax.op.nn.relu(value)
    if low == -np.inf and high == np.inf:
        return value
    if high == np.inf:
        return relax.op.maximum(value, relax.const(low, dtype))
    if low == -np.inf:
        return relax.op.minimum(value, relax.const(high, dtype))
    return relax.op.clip(value, low, high)


def _slice(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
    shape = graph.shape(node.input(0))
    if (
        shape is None
        or node.opset < 10
        or any(n and n not in graph.constants for n in node.inputs[1:])
    ):
        return None
    if node.opset < 10:
        starts, ends, axes = (node.attribute(name, []) for name in ("starts", "ends", "axes"))
        steps: list[int] = []
    else:
        starts, ends, axes, steps = (_integers(node.input(i), graph) for i in range(1, 5))
    axes = [axis % len(shape) for axis in axes or range(len(starts))]
    steps = steps or [1] * len(starts)
    if any(step < 1 for step in steps):
        return None
    bounds = [
        slice(start, end, step).indices(shape[axis])
        for start, end, step, axis in zip(starts, ends, steps, axes, strict=True)
    ]
    begins, stops, strides = zip(*bounds, strict=True)
    return relax.op.strided_slice(inputs[0], axes, begins, stops, strides)


def _bit_cast(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
    dtype = str(graph.dtype(node.outputs[0]))
    if str(graph.dtype(node.input(0))) == "bool":  # one bit in vector registers
        return relax.op.astype(inputs[0], dtype)

    def reinterpret(value: Any) -> Any:
        return te.compute(value.shape, lambda *i: tirx.reinterpret(dtype, value(*i)), "bit_cast")

    return builder.call_te(reinterpret, inputs[0], primfunc_name_hint="bit_cast")


def _bit_shift(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
    """A shift by less than nothing or by all bits and more leaves the sign, or nothing."""
    value, places = inputs
    dtype = graph.dtype(node.input(0))
    if dtype is None:
        return None
    bits = 8 * dtype.itemsize
    known = graph.constants.get(node.input(1))
    if known is not None and (known >= 0).all() and (known < bits).all():
        return None
    to_right = node.attribute("direction") == "RIGHT"
    shift = relax.op.right_shift if to_right else relax.op.left_shift
    zero, last = (relax.const(number, str(dtype)) for number in (0, bits - 1))
    fits = relax.op.less_equal(places, last)
    if dtype.kind == "i":
        fits = relax.op.logical_and(fits, relax.op.greater_equal(places, zero))
    shifted = shift(value, relax.op.where(fits, places, last))
    if to_right and dtype.kind == "i":
        return shifted
    return relax.op.where(fits, shifted, zero)


def _cumulative_product(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
    value, axis = inputs[0], graph.constants.get(node.input(1))
    if axis is None:
        return None
    place = int(axis.item())
    backwards, exclusive = node.attribute("reverse", 0), bool(node.attribute("exclusive", 0))
    value = relax.op.flip(value, place) if backwards else value
    value = relax.op.cumprod(value, place, exclusive=exclusive)
    return relax.op.flip(value, place) if backwards else value


def _gather(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
    """Known indices are made positive here, not by operators at run time."""
    shape, indices = graph.shape(node.input(0)), graph.constants.get(node.input(1))
    if shape is None or indices is None:
        return None
    axis = node.attribute("axis", 0) % len(shape)
    positive = np.where(indices < 0, indices + shape[axis], indices)
    return relax.op.take(inputs[0], relax.const(positive, str(indices.dtype)), axis)


def _pad(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
    shape = graph.shape(node.input(0))
    mode = _PAD_MODES.get(node.attribute("mode", "constant"))
    if node.opset < 11:
        pads, value = node.attribute("pads", []), node.attribute("value", 0.0)
    else:
        if any(name and name not in graph.constants for name in node.inputs[1:]):
            return None
        pads = _integers(node.input(1), graph)
        value = graph.constants[node.input(2)].item() if node.input(2) else 0
    if shape is None or mode is None or (mode != "constant" and min(pads, default=0) < 0):
        return None
    axes = _integers(node.input(3), graph) or list(range(len(shape)))
    widths, begins, ends = [0] * (2 * len(shape)), [0] * len(shape), list(shape)
    for place, axis in enumerate(axes):
        before, after = pads[place], pads[place + len(axes)]
        widths[2 * axis], widths[2 * axis + 1] = max(0, before), max(0, after)
        begins[axis], ends[axis] = max(0, -before), shape[axis] - max(0, -after)
    cut = inputs[0]
    if (begins, ends) != ([0] * len(shape), list(shape)):
        cut = relax.op.strided_slice(cut, list(range(len(shape))), begins, ends)
    return relax.op.nn.pad(cut, widths, mode, value)


def _extreme(operator: Callable[..., Any]) -> Converter:
    """TVM's converter stacks the operands and reduces the stack."""

    def convert(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
        return operator(*inputs) if len(inputs) == 2 else None

    return convert


_PAD_MODES = {
    "constant": "constant",
    "edge": "replicate",
    "reflect": "reflect",
    "wrap": "circular",
}


def _integers(name: str, graph: OnnxGraph) -> list[int]:
    return [int(value) for value in graph.constants[name].ravel()] if name else []


CONVERTERS: dict[str, Converter] = {
    "BitCast": _bit_cast,
    "BitShift": _bit_shift,
    "Clip": _clip,
    "CumProd": _cumulative_product,
    "Gather": _gather,
    "Max": _extreme(relax.op.maximum),
    "Min": _extreme(relax.op.minimum),
    "Pad": _pad,
    "Slice": _slice,
}
