"""An ONNX file as a Relax module with static shapes, its weights beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from jointdnn_tvm.graph import Graph, Placement
from jointdnn_tvm.importer.onnx_graph import OnnxGraph
from jointdnn_tvm.importer.read_model import read_onnx_graph
from jointdnn_tvm.importer.simplify import simplify
from jointdnn_tvm.importer.to_relax import to_relax
from jointdnn_tvm.interrupts import let_interrupts_through
from jointdnn_tvm.passes.convert_layout import convert_layout
from jointdnn_tvm.passes.fold_weights import fold_weights
from jointdnn_tvm.passes.pipeline import grouping, partitioning
from jointdnn_tvm.passes.read_graph import read_graph


@dataclass(frozen=True)
class TensorSpec:
    """A network input or output, under the name that it has in the user's file."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Placeable:
    """What is measured, placed and built: one function `main`, whose operators fall into groups."""

    module: tvm.IRModule
    weights: dict[str, np.ndarray[Any, Any]]

    @cached_property
    def grouped(self) -> tvm.IRModule:
        """The module with its operators outlined into groups."""
        return grouping()(self.module)

    @cached_property
    def graph(self) -> Graph:
        """The groups and the tensors between them, as plain data."""
        return read_graph(self.grouped)

    def partitioned(self, placement: Placement) -> tvm.IRModule:
        """One public function for each stage of a placement."""
        with tvm.transform.PassContext(opt_level=3):
            return partitioning(placement)(self.grouped)


@dataclass(frozen=True)
class Network(Placeable):
    """The imported model.

    `module` has one function, `main`: its parameters are the inputs in order, then the weights;
    its body is one dataflow block that returns a tuple, one field for each output. Inside, the
    graph is NHWC where the network has spatial axes; inputs and outputs keep the file's layout.
    """

    name: str
    module: tvm.IRModule
    weights: dict[str, np.ndarray[Any, Any]]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def load_network(
    path: str | PathLike[str], shapes: Mapping[str, Sequence[int]] | None = None
) -> Network:
    """Imports an ONNX file.

    Args:
        path: the `.onnx` file.
        shapes: shapes of inputs that the file leaves open. An open first dimension is 1 unless
            given here.

    Raises:
        ModelError: the file cannot be read, checked or imported.
    """
    let_interrupts_through()
    path = Path(path)
    shapes = shapes or {}
    graph = read_onnx_graph(path, shapes)
    names = list(graph.outputs)
    simplify(graph)
    module, weights = to_relax(graph)
    inputs = tuple(spec_of(name, name, graph) for name in graph.inputs)
    outputs = tuple(spec_of(n, value, graph) for n, value in zip(names, graph.outputs, strict=True))
    del graph
    module, weights = fold_weights(convert_layout(module), weights)
    return Network(safe_stem(path), module, weights, inputs, outputs)


def spec_of(name: str, value: str, graph: OnnxGraph) -> TensorSpec:
    """A value of the graph under the name that the user's file has for it."""
    return TensorSpec(name, _shape(value, graph), str(graph.dtype(value)))


def _shape(value: str, graph: OnnxGraph) -> tuple[int, ...]:
    """The shape, -1 for a dimension that depends on the data."""
    dims = graph.types[value].tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)


def safe_stem(path: Path) -> str:
    """The name of a file as a name for what comes of it."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)
