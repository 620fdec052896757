"""Resizing that TVM's operator gets wrong or lacks becomes gathers and matrix products.

TVM computes coordinates from the ratio of the sizes. ONNX computes them from the scales that the
model gives, which differ where a scaled size was rounded down. Resizing is linear along each
axis, so its matrix is what ONNX's reference implementation makes of the identity.
"""

from __future__ import annotations

import numpy as np
from onnx import helper

from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import Array, Node, OnnxGraph, make_node

_RESIZE_ATTRIBUTES = (
    *("antialias", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside"),
    *("mode", "nearest_mode"),
)


def expand_resize(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """`Resize` with constant scales or sizes, where TVM's operator does not do; `Upsample`."""
    if node.op == "Upsample":
        return _modern_upsample(node, graph)
    shape, result = graph.shape(node.input(0)), graph.shape(node.outputs[0])
    if node.op != "Resize" or node.opset < 11 or shape is None or result is None:
        return None
    if node.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        return None
    scales = _scales(node, graph, shape, result)
    if scales is None or (_tvm_is_right(node, shape, result, scales)):
        return None
    write = Writer(node, graph)
    value = node.input(0)
    for axis, (size, out, scale) in enumerate(zip(shape, result, scales, strict=True)):
        if size != out or scale != 1:
            value = _along(axis, _matrix(node, size, out, scale), value, len(shape), write)
    return write.finish("Identity", value)


def _modern_upsample(node: Node, graph: OnnxGraph) -> list[Node] | None:
    if node.opset >= 9:
        scales = node.input(1)
    else:
        scales = graph.constant(np.array(node.attribute("scales"), np.float32))
    mode = node.attribute("mode", "nearest")
    return [
        make_node(
            "Resize",
            [node.input(0), "", scales],
            node.outputs,
            mode="linear" if mode.endswith("linear") else mode,
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    ]


def _scales(
    node: Node, graph: OnnxGraph, shape: tuple[int, ...], result: tuple[int, ...]
) -> list[float] | None:
    """The scale of every axis, as the coordinates are computed with."""
    given = graph.constants.get(node.input(2))
    if given is None or given.size == 0:
        if node.input(3) not in graph.constants:
            return None
        given = None
    aligned = node.attribute("coordinate_transformation_mode") == "align_corners"
    if given is None or aligned:  # onnxruntime aligns the corners of the sizes that come out
        return [out / size for size, out in zip(shape, result, strict=True)]
    scales = [1.0] * len(shape)
    axes = node.attribute("axes") or range(len(shape))
    for axis, scale in zip(axes, given.ravel(), strict=True):
        scales[axis] = float(scale)
    return scales


def _tvm_is_right(
    node: Node, shape: tuple[int, ...], result: tuple[int, ...], scales: list[float]
) -> bool:
    if len(shape) not in (3, 4, 5) or node.attribute("axes") or node.attribute("antialias", 0):
        return False
    if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        return False
    axes = list(zip(shape, result, scales, strict=True))
    if shape[:2] != result[:2] or any(size * scale != out for size, out, scale in axes):
        return False
    nearest = node.attribute("mode", "nearest") == "nearest"  # a last bit may decide, but for these
    return not nearest or all(scale in (1, 2, 4, 8) for scale in scales)


def _matrix(node: Node, size: int, out: int, scale: float) -> Array:
    """[size, out]: a row vector times this is resized."""
    from onnx.reference import ReferenceEvaluator

    names = ["x", "", "scales"] if out == int(size * scale) else ["x", "", "", "sizes"]
    kept = {name: node.attribute(name) for name in _RESIZE_ATTRIBUTES}
    options = {name: value for name, value in kept.items() if value is not None}
    resize = helper.make_node("Resize", names, ["y"], **options)
    evaluator = ReferenceEvaluator(resize)
    feeds = {
        "x": np.eye(size, dtype=np.float32),
        "scales": np.array([1, scale], np.float32),
        "sizes": np.array([size, out], np.int64),
    }
    (matrix,) = evaluator.run(None, {name: feeds[name] for name in names if name})
    return np.asarray(matrix)


def _along(axis: int, matrix: Array, value: str, rank: int, write: Writer) -> str:
    if (matrix.max(axis=0) == 1).all() and (np.count_nonzero(matrix, axis=0) == 1).all():
        return write("Gather", value, write.ints(*matrix.argmax(axis=0)), axis=axis)
    if axis == rank - 1:
        return write("MatMul", value, write.like(matrix, value))
    if axis == rank - 2:
        return write("MatMul", write.like(matrix.T, value), value)
    order = [*range(rank)]
    order[axis], order[-1] = order[-1], order[axis]
    turned = write("Transpose", value, perm=order)
    product = write("MatMul", turned, write.like(matrix, value))
    return write("Transpose", product, perm=order)
