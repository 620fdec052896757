"""From a file to the graph that the rewrites work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import helper, numpy_helper

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.graph import Graph, Node

DEFAULT_DOMAINS = ("", "ai.onnx")


def read_graph(path: Path, shapes: Mapping[str, Sequence[int]]) -> Graph:
    """Reads a model and checks it.

    Raises:
        ModelError: the file is missing, damaged or not supported.
    """
    try:
        model = onnx.load(path)
    except Exception as error:
        raise ModelError(f"cannot read '{path}': {error}") from error
    initializers = {tensor.name for tensor in model.graph.initializer}
    versions = {
        "" if item.domain in DEFAULT_DOMAINS else item.domain: item.version
        for item in model.opset_import
    }
    graph = Graph(
        inputs=[item.name for item in model.graph.input if item.name not in initializers],
        outputs=[item.name for item in model.graph.output],
        versions=versions,
    )
    for item in model.graph.input:
        if item.name not in initializers:
            graph.types[item.name] = static_type(item, shapes)
    for tensor in model.graph.initializer:
        graph.set_constant(tensor.name, numpy_helper.to_array(tensor))
    graph.nodes = [Node(proto, versions.get(proto.domain, 1)) for proto in model.graph.node]
    return graph


def static_type(item: onnx.ValueInfoProto, shapes: Mapping[str, Sequence[int]]) -> onnx.TypeProto:
    """The type of a network input with every dimension known.

    Raises:
        ModelError: a dimension is open, or differs from the one asked for.
    """
    tensor = item.type.tensor_type
    asked = shapes.get(item.name)
    declared = [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]
    flag = f"--shape {item.name}=" + ",".join(str(dim or "N") for dim in declared)
    if asked is not None:
        fits = len(asked) == len(declared) or not tensor.HasField("shape")
        clash = [d for d, a in zip(declared, asked, strict=False) if d is not None and d != a]
        if not fits or clash or any(dim < 1 for dim in asked):
            raise ModelError(
                f"shape {list(asked)} does not fit input '{item.name}', which is "
                f"{[dim or '?' for dim in declared]} in the file; give {flag}"
            )
        return helper.make_tensor_type_proto(tensor.elem_type, asked)
    if not tensor.HasField("shape"):
        raise ModelError(f"input '{item.name}' has no shape in the file; give {flag}...")
    if declared and declared[0] is None:
        declared[0] = 1
    if None in declared:
        open_dims = [index for index, dim in enumerate(declared) if dim is None]
        raise ModelError(
            f"input '{item.name}' has open dimensions {open_dims}; give them with {flag}"
        )
    return helper.make_tensor_type_proto(tensor.elem_type, declared)
