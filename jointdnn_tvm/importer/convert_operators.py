"""Converters of ONNX operators that TVM converts badly, or not at all, to Relax.

Each takes the node, the graph (for constants and shapes), the block builder and the Relax
inputs, and returns a Relax expression, or None to leave the node to TVM's converter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from jointdnn_tvm.importer.divide_integers import divide, modulo
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
    """Without TVM's operators on negative indices: `check_indices` leaves none."""
    shape, (value, indices) = graph.shape(node.input(0)), inputs
    if shape is None or graph.shape(node.input(1)) is None:
        return None
    match node.op:
        case "GatherElements":
            return relax.op.gather_elements(value, indices, node.attribute("axis", 0) % len(shape))
        case "GatherND":
            return relax.op.gather_nd(value, indices, node.attribute("batch_dims", 0))
    return relax.op.take(value, indices, node.attribute("axis", 0) % len(shape), "clip")


def _scatter_nd(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
    """As `_gather`."""
    if graph.shape(node.input(0)) is None or graph.shape(node.input(1)) is None:
        return None
    reduction = node.attribute("reduction", "none")
    return relax.op.scatter_nd(*inputs, "update" if reduction == "none" else reduction)


def _non_max_suppression(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
    """With the thresholds that are given: TVM's converter has its own for unknown ones."""
    boxes, scores, most = inputs[0], inputs[1], graph.constants[node.input(2)]
    if node.attribute("center_point_box", 0):
        center = relax.op.strided_slice(boxes, [2], [0], [2])
        half = relax.op.multiply(relax.op.strided_slice(boxes, [2], [2], [4]), relax.const(0.5))
        boxes = relax.op.concat([relax.op.subtract(center, half), relax.op.add(center, half)], 2)
    overlap, score = (_scalar(node.input(i), inputs[i], graph) for i in (3, 4))
    # TVM suppresses at the threshold, ONNX above it: at the next number.
    step, least = (relax.const(value) for value in (1 + 2**-23, 2**-126))
    overlap = relax.op.maximum(relax.op.multiply(overlap, step), least)
    result = relax.op.vision.all_class_non_max_suppression(
        boxes, scores, relax.const(int(most.item()), "int64"), overlap, score, output_format="onnx"
    )
    return relax.TupleGetItem(builder.emit(result), 0)


def _scalar(name: str, value: Any, graph: OnnxGraph) -> Any:
    """One number, 0 where none is given."""
    if not name or name in graph.constants:
        return relax.const(graph.constants[name].item() if name else 0.0, "float32")
    return relax.op.reshape(value, ())


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
    "Div": divide,
    "Gather": _gather,
    "GatherElements": _gather,
    "GatherND": _gather,
    "Max": _extreme(relax.op.maximum),
    "Min": _extreme(relax.op.minimum),
    "Mod": modulo,
    "NonMaxSuppression": _non_max_suppression,
    "Pad": _pad,
    "ScatterND": _scatter_nd,
    "Slice": _slice,
}
