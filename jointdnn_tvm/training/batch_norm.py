"""Batch normalisation while a network is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import Array, Node, OnnxGraph


def freeze_batch_norm(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """By the running statistics, with a scale or a shift that is trained."""
    if node.op != "BatchNormalization" or node.attribute("training_mode", 0):
        return None
    value, scale, shift, mean_name, variance_name = node.inputs
    mean, variance = graph.constants.get(mean_name), graph.constants.get(variance_name)
    fixed = scale in graph.constants and shift in graph.constants
    if mean is None or variance is None or fixed:
        return None
    write = Writer(node, graph)
    inverse = 1 / np.sqrt(variance.astype(np.float64) + node.attribute("epsilon", 1e-5))
    shape = graph.shape(value)
    # The mean first: where the variance is small, products with it would cancel.
    around = write("Sub", value, _along_channels(write.like(mean, value), shape, write))
    factor = write("Mul", scale, write.like(inverse, value))
    scaled = write("Mul", around, _along_channels(factor, shape, write))
    return write.finish("Add", scaled, _along_channels(shift, shape, write))


@dataclass
class TrainBatchNorm:
    """By the statistics of the batch; the running ones become inputs, and new ones outputs.

    As ONNX has it: the running variance follows the variance of the batch as a population.
    """

    statistics: dict[str, Array] = field(default_factory=dict)
    """The running statistics of the file. The graph puts out the new ones in the same order."""

    def __call__(self, node: Node, graph: OnnxGraph) -> list[Node] | None:
        """The nodes in the place of a batch normalisation."""
        if node.op != "BatchNormalization" or any(node.outputs[1:]):
            return None
        value, scale, shift, *running = node.inputs
        shape = graph.shape(value)
        if shape is None or any(name not in graph.constants for name in running):
            return None  # also where two normalisations share statistics
        write = Writer(node, graph)
        axes = write.ints(*(axis for axis in range(len(shape)) if axis != 1))
        mean = write("ReduceMean", value, axes, keepdims=1)
        around = write("Sub", value, mean)
        variance = write("ReduceMean", write("Mul", around, around), axes, keepdims=1)
        for name, batch in zip(running, (mean, variance), strict=True):
            self._follow(name, batch, node, graph, write)
        epsilon = write.like(node.attribute("epsilon", 1e-5), value)
        deviation = write("Sqrt", write("Add", variance, epsilon))
        factor = write("Div", _along_channels(scale, shape, write), deviation)
        scaled = write("Mul", around, factor)
        return write.finish("Add", scaled, _along_channels(shift, shape, write))

    def _follow(self, name: str, batch: str, node: Node, graph: OnnxGraph, write: Writer) -> None:
        """The running statistic moves a little towards that of the batch."""
        momentum = node.attribute("momentum", 0.9)
        self.statistics[name] = graph.constants.pop(name)
        flat = write("Reshape", batch, write.ints(-1))
        kept = write("Mul", name, write.like(momentum, name))
        new = write("Add", kept, write("Mul", flat, write.like(1 - momentum, name)))
        graph.outputs.append(new)


def _along_channels(name: str, shape: Sequence[int] | None, write: Writer) -> str:
    """One number a channel, to go with a value of this shape."""
    return write("Reshape", name, write.ints(-1, *[1] * (len(shape or ()) - 2)))
