"""Operators that TVM's importer lacks or gets wrong, written with others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jointdnn_tvm.importer.drop_no_ops import is_dropping
from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph


def lower_operator(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """Applies the rule for the node's operator, if there is one and it fits."""
    rule = _RULES.get(node.op)
    return None if rule is None or node.domain else rule(node, graph)


def _power(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """Small constant exponents become products; other element types meet in the base's."""
    base, exponent = node.inputs
    write = Writer(node, graph)
    dtype, other = graph.dtype(base), graph.dtype(exponent)
    if dtype is None or other is None:
        return None
    value = graph.constants.get(exponent)
    if value is not None and value.size == 1 and value.ndim <= len(graph.shape(base) or ()):
        match float(value.item()):
            case 1.0:
                return write.finish("Identity", base)
            case 2.0:
                return write.finish("Mul", base, base)
            case 3.0:
                return write.finish("Mul", write("Mul", base, base), base)
            case 0.5 if dtype.kind == "f":
                return write.finish("Sqrt", base)
    if dtype == other and dtype.kind == "f":
        return None
    wide = np.dtype(np.float64) if "f" not in (dtype.kind, other.kind) else np.dtype(np.float32)
    wide = dtype if dtype.kind == "f" else wide
    operands = [write.cast(base, wide), write.cast(exponent, wide)]
    return write.finish("Cast", write("Pow", *operands), to=write.element_type(dtype))


def _one_hot(node: Node, graph: OnnxGraph) -> list[Node] | None:
    indices, depth_name, values = node.inputs
    shape, dtype = graph.shape(indices), graph.dtype(indices)
    if depth_name not in graph.constants or shape is None or dtype is None:
        return None
    depth = int(graph.constants[depth_name].item())
    axis = node.attribute("axis", -1)
    axis += len(shape) + 1 if axis < 0 else 0
    write = Writer(node, graph)
    places = write.cast(indices, np.dtype(np.int64))
    negative = write("Less", places, write.scalar(0))
    wrapped = write("Where", negative, write("Add", places, write.scalar(depth)), places)
    steps = np.arange(depth).reshape([-1] + [1] * (len(shape) - axis))
    hit = write("Equal", write.unsqueeze(wrapped, axis), write.constant(steps))
    off, on = (write("Gather", values, write.scalar(i), axis=0) for i in (0, 1))
    return write.finish("Where", hit, on, off)


def _is_inf(node: Node, graph: OnnxGraph) -> list[Node] | None:
    positive, negative = (node.attribute(f"detect_{side}", 1) for side in ("positive", "negative"))
    write = Writer(node, graph)
    value = node.input(0)
    if positive and negative:
        return None
    if not positive and not negative:
        never = write("Greater", write("Abs", value), write.like(np.inf, value))
        return write.finish("Identity", never)
    bound = write.like(np.inf if positive else -np.inf, value)
    return write.finish("Equal", value, bound)


def _lp_norm(node: Node, graph: OnnxGraph) -> list[Node] | None:
    value, axis = node.input(0), node.attribute("axis", -1)
    write = Writer(node, graph)
    op = "ReduceL1" if node.attribute("p", 2) == 1 else "ReduceL2"
    norm = write(op, value, write.ints(axis), keepdims=1)
    is_zero = write("Equal", norm, write.like(0, value))
    safe = write("Where", is_zero, write.like(1, value), norm)
    return write.finish("Div", value, safe)


def _bool_extreme(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """The largest of booleans: whether any is true."""
    if graph.dtype(node.input(0)) != np.dtype(bool):
        return None
    write = Writer(node, graph)
    wide = write.cast(node.input(0), np.dtype(np.int32))
    options = {"keepdims": node.attribute("keepdims", 1)}
    result = write(node.op, wide, *node.inputs[1:], **options)
    return write.finish("Cast", result, to=write.element_type(np.dtype(bool)))


def _space_to_depth(node: Node, graph: OnnxGraph) -> list[Node] | None:
    shape, block = graph.shape(node.input(0)), node.attribute("blocksize")
    if shape is None:
        return None
    batch, channels, height, width = shape
    order = [0, 1, 3, 5, 2, 4] if node.attribute("mode", "DCR") == "CRD" else [0, 3, 5, 1, 2, 4]
    write = Writer(node, graph)
    parts = [batch, channels, height // block, block, width // block, block]
    value = write("Transpose", write("Reshape", node.input(0), write.ints(*parts)), perm=order)
    result = [batch, channels * block**2, height // block, width // block]
    return write.finish("Reshape", value, write.ints(*result))


def _reverse_sequence(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """A gather along time, from places that are known when the lengths are."""
    shape, lengths = graph.shape(node.input(0)), graph.constants.get(node.input(1))
    if shape is None or lengths is None:
        return None
    time, batch = node.attribute("time_axis", 0), node.attribute("batch_axis", 1)
    steps = np.arange(shape[time])[:, None]
    source = np.where(steps < lengths[None, :], lengths[None, :] - 1 - steps, steps)
    source = source if time < batch else source.T
    full = source.reshape([*source.shape] + [1] * (len(shape) - 2))
    write = Writer(node, graph)
    indices = write.constant(np.broadcast_to(full, shape).astype(np.int64))
    return write.finish("GatherElements", node.input(0), indices, axis=time)


def _dropout_mask(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """At inference nothing is dropped: the mask is all true."""
    shape = graph.shape(node.input(0))
    if shape is None or not node.outputs[1:] or is_dropping(node, graph):
        return None
    dtype = graph.dtype(node.outputs[1]) or np.dtype(bool)
    graph.set_constant(node.outputs[1], np.ones(shape, dtype))
    return Writer(node, graph).finish("Identity", node.input(0))


def _hyperbolic(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """By exponentials: TVM has no vectorised form."""
    write = Writer(node, graph)
    value = node.input(0)
    grown, shrunk = write("Exp", value), write("Exp", write("Neg", value))
    combined = write("Add" if node.op == "Cosh" else "Sub", grown, shrunk)
    return write.finish("Mul", combined, write.like(0.5, value))


def _cast_like(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """The type is known."""
    dtype = graph.dtype(node.input(1))
    if dtype is None:
        return None
    write = Writer(node, graph)
    return write.finish("Cast", node.input(0), to=write.element_type(dtype))


def _float_modulo(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """The remainder in C, moved to the sign of the divisor: right for infinities too."""
    dtype, divisor = graph.dtype(node.input(0)), node.input(1)
    if dtype is None or dtype.kind != "f" or node.attribute("fmod", 0):
        return None
    write = Writer(node, graph)
    zero = write.like(0, divisor)
    rest = write("Mod", node.input(0), divisor, fmod=1)
    signs_differ = write("Xor", write("Less", rest, zero), write("Less", divisor, zero))
    other_side = write("And", signs_differ, write("Not", write("Equal", rest, zero)))
    return write.finish("Where", other_side, write("Add", rest, divisor), rest)


_RULES: dict[str, Callable[[Node, OnnxGraph], list[Node] | None]] = {
    "CastLike": _cast_like,
    "Cosh": _hyperbolic,
    "Dropout": _dropout_mask,
    "IsInf": _is_inf,
    "LpNormalization": _lp_norm,
    "Mod": _float_modulo,
    "OneHot": _one_hot,
    "Pow": _power,
    "ReduceMax": _bool_extreme,
    "ReduceMin": _bool_extreme,
    "ReverseSequence": _reverse_sequence,
    "Sinh": _hyperbolic,
    "SpaceToDepth": _space_to_depth,
}
