"""From a file to the graph that the rewrites work on."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import helper

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer import check_model as check
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph
from jointdnn_tvm.importer.read_tensors import read_tensor

_MAX_FILE_BYTES = 2 << 30  # protobuf parses no more


def read_onnx_graph(path: Path, shapes: Mapping[str, Sequence[int]], batch: int = 1) -> OnnxGraph:
    """Reads a model, checks it, and fixes the shapes of its inputs.

    A first dimension that the file leaves open, and `shapes` too, is `batch`.

    The order of the checks matters: nothing is allocated or handed to a library that could
    crash on it before it is known to be sane.

    Raises:
        ModelError: the file is missing, damaged, or holds something that is not supported.
    """
    model = read_model(path)
    check.check_versions(model)
    check.check_names(model.graph)
    check.check_no_strings(model.graph)
    check.sort_nodes(model.graph)
    constants = _take_constants(model.graph, path.parent)
    kinds = _input_types(model.graph, shapes, batch)
    check.check_with_onnx(model, constants)
    graph = OnnxGraph(
        inputs=[item.name for item in model.graph.input],
        outputs=[item.name for item in model.graph.output],
        versions={check.domain(item.domain): item.version for item in model.opset_import},
        functions={(check.domain(f.domain), f.name): f for f in model.functions},
    )
    for name, array in constants.items():
        graph.set_constant(name, array)
    graph.types.update(kinds)
    for name in graph.inputs:
        graph.settle_empty(name)
    graph.nodes = [
        Node(proto, graph.versions.get(check.domain(proto.domain), 1)) for proto in model.graph.node
    ]
    return graph


def read_model(path: Path) -> onnx.ModelProto:
    """Parses a file; data beside it is not touched.

    Raises:
        ModelError: there is no such file, or it holds no ONNX model.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelError(f"'{path}' is a directory; give the .onnx file")
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"'{path}' is not a regular file; give the .onnx file")
        if status.st_size == 0:
            raise ModelError(f"'{path}' is empty; export or download the model again")
        if status.st_size >= _MAX_FILE_BYTES:
            raise ModelError(
                f"'{path}' is larger than 2 GiB, which no ONNX reader takes; save its weights as "
                "external data"
            )
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read '{path}': {error.strerror or error}") from error
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ModelError(
            f"'{path}' is not an ONNX file, or is cut short; export or download it again"
        ) from error
    if not model.HasField("graph") or not model.ir_version:
        raise ModelError(f"'{path}' is not an ONNX file: it holds no graph")
    return model


def _take_constants(graph: onnx.GraphProto, folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Moves initializers and constant nodes out of the proto, so that memory holds them once."""
    constants = {}
    for tensor in graph.initializer:
        constants[tensor.name] = read_tensor(tensor, folder)
    nodes = []
    for node in graph.node:
        attributes = {a.name: a for a in node.attribute}
        if node.op_type == "Constant" and "value" in attributes and not node.domain:
            constants[node.output[0]] = read_tensor(attributes["value"].t, folder)
        else:
            nodes.append(node)
    kept = [item for item in graph.input if item.name not in constants]
    del graph.initializer[:]
    del graph.input[:]
    graph.input.extend(kept)
    if len(nodes) < len(graph.node):
        del graph.node[:]
        graph.node.extend(nodes)
    return constants


def _input_types(
    graph: onnx.GraphProto, shapes: Mapping[str, Sequence[int]], batch: int
) -> dict[str, onnx.TypeProto]:
    names = [item.name for item in graph.input]
    unknown = sorted(set(shapes) - set(names))
    if unknown:
        raise ModelError(
            f"no input is named '{unknown[0]}'; the inputs are {', '.join(names) or 'none'}"
        )
    return {item.name: static_type(item, shapes, batch) for item in graph.input}


def static_type(
    item: onnx.ValueInfoProto, shapes: Mapping[str, Sequence[int]], batch: int
) -> onnx.TypeProto:
    """The type of a network input with every dimension known.

    Raises:
        ModelError: a dimension is open, or differs from the one asked for.
    """
    tensor = item.type.tensor_type
    asked = shapes.get(item.name)
    declared = [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]
    has_shape = tensor.HasField("shape")
    flag = f"--shape {item.name}=" + (",".join(str(dim or "N") for dim in declared) or "1,...")
    if asked is not None:
        # A dimension of 0 in a file is an open one, or rarely really 0.
        clash = has_shape and (
            len(asked) != len(declared)
            or any(d is not None and d != a for d, a in zip(declared, asked, strict=True))
        )
        if clash or any(dim < 0 for dim in asked):
            shown = [dim or "?" for dim in declared]
            raise ModelError(
                f"shape {list(asked)} does not fit input '{item.name}', which is {shown} in the "
                f"file; give {flag}"
            )
        return helper.make_tensor_type_proto(tensor.elem_type, asked)
    if not has_shape:
        raise ModelError(f"input '{item.name}' has no shape in the file; give {flag}")
    if declared and declared[0] is None:
        declared[0] = batch
    if None in declared:
        places = ", ".join(str(i) for i, dim in enumerate(declared) if dim is None)
        raise ModelError(
            f"input '{item.name}' leaves dimension {places} of {len(declared)} open; give its "
            f"shape with {flag}"
        )
    return helper.make_tensor_type_proto(tensor.elem_type, declared)
