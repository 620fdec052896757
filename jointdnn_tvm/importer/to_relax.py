"""From the rewritten ONNX graph to one Relax function.

Each node is converted by its converter in `convert_operators.py` when there is one, else by
TVM's own, in the operator set version that the node is written in. Large constants become
parameters, so that weights never enter TVM.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import tvm
from onnx import helper
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.convert_operators import CONVERTERS
from jointdnn_tvm.importer.convertible import is_convertible
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph

_INLINE_INTEGERS = 4096
_INLINE_FLOATS = 64
"""Constants up to these sizes are given to the converters as values: they may be a shape,
an axis, a scale. Those that stay as tensors are lifted out again later."""


class Names:
    """Gives each value a unique name made of letters, digits and underscores only."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def safe(self, name: str) -> str:
        """A unique safe name that resembles `name`."""
        base = re.sub(r"[^A-Za-z0-9_]", "_", name)
        if not base or not base[0].isalpha():
            base = f"v{base}"
        unique, count = base, 0
        while unique in self._taken:
            count += 1
            unique = f"{base}_{count}"
        self._taken.add(unique)
        return unique


def to_relax(graph: OnnxGraph) -> tuple[tvm.IRModule, dict[str, np.ndarray]]:
    """Converts the graph.

    Returns:
        A module whose `main` takes the inputs, then the weights, and returns a tuple; and the
        weights by parameter name, in parameter order.

    Raises:
        ModelError: operators that cannot be converted, all of them in one message.
    """
    _check_supported(graph)
    names = Names()
    values: dict[str, Any] = {}
    params = [_parameter(name, names, graph) for name in graph.inputs]
    values.update(zip(graph.inputs, params, strict=True))
    weights = {}
    used = {name for node in graph.nodes for name in node.inputs} | set(graph.outputs)
    for name, array in graph.constants.items():
        if name not in used:
            continue
        if _is_inline(array):
            values[name] = relax.const(array, str(array.dtype))
        else:
            variable = _parameter(name, names, graph)
            params.append(variable)
            values[name] = variable
            weights[variable.name] = array
    builder = relax.BlockBuilder()
    failure = None
    with builder.function("main", params, attrs={"num_input": len(graph.inputs)}):
        with builder.dataflow():
            try:
                for node in graph.nodes:
                    _emit(node, graph, builder, values, names)
                outputs = [values[name] for name in graph.outputs]
            except ModelError as error:  # a builder left in the middle would warn on stderr
                failure, outputs = error, []
            result = builder.emit_output(relax.Tuple(outputs))
        builder.emit_func_output(result)
    if failure is not None:
        raise failure
    return builder.get(), weights


def _check_supported(graph: OnnxGraph) -> None:
    missing = sorted({_qualified(node) for node in graph.nodes if not is_convertible(node, graph)})
    if missing:
        one = len(missing) == 1
        raise ModelError(
            f"operator{'' if one else 's'} {', '.join(missing)} cannot be imported; export the "
            f"model without {'it' if one else 'them'} (a quantized model: in float32)"
        )


def _qualified(node: Node) -> str:
    return f"{node.domain}.{node.op}" if node.domain else node.op


def _parameter(name: str, names: Names, graph: OnnxGraph) -> relax.Var:
    return relax.Var(names.safe(name), relax.TensorType(graph.shape(name), str(graph.dtype(name))))


def _is_inline(array: np.ndarray) -> bool:
    limit = _INLINE_FLOATS if array.dtype.kind == "f" else _INLINE_INTEGERS
    return array.size <= limit


def _emit(node: Node, graph: OnnxGraph, builder: Any, values: dict[str, Any], names: Names) -> None:
    inputs = onnx_frontend.onnx_input(values[name] if name else None for name in node.inputs)
    try:
        result = _convert(node, graph, builder, inputs)
        if isinstance(result, relax.Expr):
            result = builder.normalize(result)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{node.describe()} cannot be imported: {reason}") from error
    fields = _fields(result, builder)
    for name, value in zip(node.outputs, fields, strict=False):
        if not name:
            continue
        if not isinstance(value, (relax.Var, tvm.ir.GenericConst)):
            value = builder.emit(value, names.safe(name))
        values[name] = value


def _convert(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
    if node.op in CONVERTERS:
        result = CONVERTERS[node.op](node, graph, builder, inputs)
        if result is not None:
            return result
    converter = onnx_frontend._get_convert_map()[node.op].get_converter(node.opset)
    attributes = {a.name: _attribute_value(a) for a in node.proto.attribute}
    attributes["tvm_custom"] = {"name": node.proto.name, "num_outputs": len(node.outputs)}
    return converter(builder, inputs, attributes, [{}, {}])


def _attribute_value(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    is_list = not isinstance(value, (int, float, bytes)) and hasattr(value, "__len__")
    return tuple(value) if is_list else value


def _fields(result: Any, builder: Any) -> list[Any]:
    if isinstance(result, relax.Tuple):
        return list(result)
    if isinstance(result.ty, relax.TupleType):
        variable = builder.emit(result)
        return [relax.TupleGetItem(variable, i) for i in range(len(result.ty.fields))]
    return [result]
