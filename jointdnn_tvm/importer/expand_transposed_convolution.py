"""A transposed convolution becomes one ordinary convolution and a shuffle of its channels.

Each of the stride's phases of the output is a convolution of the input with every so-many-th
tap of the kernel. All phases together are one convolution with that many times the channels,
which are then interleaved in space (Shi et al., "Is the deconvolution layer the same as a
convolutional layer?", arXiv 1609.07009). No product with a stuffed zero is ever computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import Array, Node, OnnxGraph


@dataclass(frozen=True)
class _Axis:
    """One spatial dimension."""

    size: int  # of the input
    taps: int  # of the kernel, holes of a dilation counted
    stride: int
    begin: int  # elements cropped from the front of the full output
    out: int  # size of the output

    @property
    def phase_taps(self) -> int:
        return -(-self.taps // self.stride)

    @property
    def phase_size(self) -> int:
        """Elements of each phase, up to the last one that the output needs."""
        return -(-(self.begin + self.out) // self.stride)


def expand_transposed_convolution(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """`ConvTranspose` over two dimensions with a constant kernel."""
    shape, result = graph.shape(node.input(0)), graph.shape(node.outputs[0])
    kernel = graph.constants.get(node.input(1))
    if node.op != "ConvTranspose" or kernel is None or shape is None or result is None:
        return None
    if len(shape) != 4:
        return None
    groups = node.attribute("group", 1)
    kernel = _dilate(kernel, node.attribute("dilations", [1, 1]))
    rows, columns = _axes(node, shape, result, kernel.shape)
    phases = (rows.stride, columns.stride)
    weight, bias = _phase_kernels(kernel, groups, rows, columns), node.input(2)
    write = Writer(node, graph)
    inputs = [node.input(0), graph.constant(weight, f"{node.input(1)}_phases")]
    if bias:
        each = write("Reshape", bias, write.ints(groups, 1, -1))
        tiled = write("Expand", each, write.ints(groups, phases[0] * phases[1], 1))
        inputs.append(write("Reshape", tiled, write.ints(-1)))
    after = [axis.phase_size - axis.size for axis in (rows, columns)]
    pads = [rows.phase_taps - 1, columns.phase_taps - 1, *(max(0, pad) for pad in after)]
    value = write("Conv", *inputs, group=groups, pads=pads)
    batch, channels = shape[0], kernel.shape[1]
    sizes = [a.size + max(0, pad) for a, pad in zip((rows, columns), after, strict=True)]
    if phases != (1, 1):
        parts = write.ints(batch, groups, *phases, channels, *sizes)
        value = write("Reshape", value, parts)
        value = write("Transpose", value, perm=[0, 1, 4, 5, 2, 6, 3])
        full = [size * stride for size, stride in zip(sizes, phases, strict=True)]
        value = write("Reshape", value, write.ints(batch, groups * channels, *full))
    starts = write.ints(rows.begin, columns.begin)
    ends = write.ints(rows.begin + rows.out, columns.begin + columns.out)
    return write.finish("Slice", value, starts, ends, write.ints(2, 3))


def _dilate(kernel: Array, dilations: list[int]) -> Array:
    if dilations == [1, 1]:
        return kernel
    spatial = [(size - 1) * d + 1 for size, d in zip(kernel.shape[2:], dilations, strict=True)]
    dilated = np.zeros((*kernel.shape[:2], *spatial), kernel.dtype)
    dilated[:, :, :: dilations[0], :: dilations[1]] = kernel
    return dilated


def _axes(
    node: Node, shape: tuple[int, ...], result: tuple[int, ...], kernel: tuple[int, ...]
) -> list[_Axis]:
    strides = node.attribute("strides", [1, 1])
    extra = node.attribute("output_padding", [0, 0])
    mode = node.attribute("auto_pad", "NOTSET")
    pads = node.attribute("pads", [0, 0, 0, 0])
    axes = []
    for i in range(2):
        size, taps, stride, out = shape[2 + i], kernel[2 + i], strides[i], result[2 + i]
        begin = pads[i]
        if node.attribute("output_shape") or mode.startswith("SAME"):
            total = max(0, stride * (size - 1) + extra[i] + taps - out)
            begin = total // 2 if mode == "SAME_UPPER" else total - total // 2
        axes.append(_Axis(size, taps, stride, begin, out))
    return axes


def _phase_kernels(kernel: Array, groups: int, rows: _Axis, columns: _Axis) -> Array:
    """The kernel [groups * phases * out / groups, in / groups, taps, taps] of the convolution."""
    inputs, channels = kernel.shape[:2]
    padded = np.zeros(
        (inputs, channels, rows.phase_taps * rows.stride, columns.phase_taps * columns.stride),
        kernel.dtype,
    )
    padded[:, :, : rows.taps, : columns.taps] = kernel
    split = padded.reshape(
        groups,
        inputs // groups,
        channels,
        rows.phase_taps,
        rows.stride,
        columns.phase_taps,
        columns.stride,
    )
    flipped = split[:, :, :, ::-1, :, ::-1, :]
    ordered = flipped.transpose(0, 4, 6, 2, 1, 3, 5)
    count = groups * rows.stride * columns.stride * channels
    return np.ascontiguousarray(
        ordered.reshape(count, inputs // groups, rows.phase_taps, columns.phase_taps)
    )
