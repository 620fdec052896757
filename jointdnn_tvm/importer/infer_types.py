"""Types and constant values, one node at a time."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.defs import OpSchema

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph
from jointdnn_tvm.importer.read_tensors import check_shape

_SHOWN = 4096
"""Constants of at most this many elements are shown to shape inference."""

_TYPE_OF_INPUT = ("GroupNormalization", "MeanVarianceNormalization")
"""Functions whose types ONNX infers from their bodies only."""

_RANDOM = (
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)


def schema_of(node: Node) -> OpSchema | None:
    """The ONNX schema of a node's operator, or None for an operator that ONNX does not know."""
    try:
        return onnx.defs.get_schema(node.op, node.opset, node.domain)
    except onnx.defs.SchemaError:
        return None


def infer_types(node: Node, graph: OnnxGraph) -> None:
    """Adds the types of a node's outputs to the graph, as far as ONNX can tell them.

    Raises:
        ModelError: the node does not fit its inputs, or would produce text or something huge.
    """
    schema = schema_of(node)
    if schema is None or any(name and name not in graph.types for name in node.inputs):
        return
    data = {
        name: numpy_helper.from_array(graph.constants[name], name)
        for name in node.inputs
        if name in graph.constants and graph.constants[name].size <= _SHOWN
    }
    types = graph.types if node.has_subgraph else {n: graph.types[n] for n in node.inputs if n}
    opsets = [helper.make_opsetid(node.domain, node.opset)]
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            schema, node.proto, types, data, opset_imports=opsets
        )
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        RuntimeError,
        ValueError,
    ) as error:
        raise ModelError(
            f"{node.describe()} does not fit its inputs: {one_line(error)}; check the model, or "
            "the shapes given with --shape"
        ) from error
    if not inferred and node.op in _TYPE_OF_INPUT:
        inferred = {node.outputs[0]: types[node.input(0)]}
    for name, kind in inferred.items():
        if name:
            _check_type(name, kind)
            graph.types[name] = kind
            graph.settle_empty(name)


def _check_type(name: str, kind: onnx.TypeProto) -> None:
    tensor = kind.tensor_type
    if tensor.elem_type == onnx.TensorProto.STRING:
        raise ModelError(f"value '{name}' holds text, which is not supported; remove it")
    if tensor.elem_type and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        check_shape(name, tuple(dim.dim_value for dim in tensor.shape.dim), dtype)


def is_constant(node: Node, graph: OnnxGraph) -> bool:
    """Whether a node has the same outputs for every input of the network."""
    if node.op in _RANDOM or node.has_subgraph:
        return False
    outputs = [name for name in node.outputs if name]
    if all(name in graph.constants for name in outputs):
        return True
    return all(not name or name in graph.constants for name in node.inputs)


def evaluate(node: Node, graph: OnnxGraph) -> bool:
    """Makes the outputs of a constant node constants, by ONNX's own reference implementation.

    Returns:
        Whether that was possible: not for operators that the reference does not know.
    """
    from onnx.reference import ReferenceEvaluator

    names = [name for name in dict.fromkeys(node.inputs) if name]
    outputs = [name for name in node.outputs if name]
    if all(name in graph.constants for name in outputs):
        return True
    if any(not graph.types.get(name, onnx.TypeProto()).HasField("tensor_type") for name in outputs):
        return False
    proto = helper.make_graph(
        [node.proto],
        "constant",
        [helper.make_value_info(name, graph.types[name]) for name in names],
        [helper.make_value_info(name, graph.types[name]) for name in outputs],
    )
    try:
        evaluator = ReferenceEvaluator(proto, opsets={node.domain: node.opset})
        with np.errstate(all="ignore"):  # a division by zero is the model's business
            values = list(evaluator.run(None, {name: graph.constants[name] for name in names}))
    except NotImplementedError:
        return False
    except Exception as error:
        raise ModelError(
            f"{node.describe()} is constant but cannot be evaluated: {one_line(error)}"
        ) from error
    for name, value in zip(outputs, values, strict=True):
        dtype = graph.dtype(name)
        graph.set_constant(name, np.asarray(value, dtype))
    return True


def one_line(error: BaseException) -> str:
    """An error of another library, fit for the middle of our own line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
