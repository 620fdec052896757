"""From the rewritten ONNX graph to one Relax function.

Each node is converted by its converter in `convert_operators.py` when there is one, else by
TVM's own, in the operator set version that the node is written in. Large constants become
parameters, so that weights never enter TVM.
"""

from __future__ import annotations

import re
from typing import Any

import onnx
import tvm
from onnx import helper
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.check_indices import check_indices
from jointdnn_tvm.importer.convert_operators import CONVERTERS
from jointdnn_tvm.importer.convertible import is_convertible
from jointdnn_tvm.importer.infer_types import one_line
from jointdnn_tvm.importer.onnx_graph import Array, Node, OnnxGraph
from jointdnn_tvm.passes.layouts import dims, has_static_shape

_TRAINED = ("BatchNormalization", "Dropout")
"""Operators that cannot be converted in training mode only."""

_SHAPED_BY_DATA = ("Compress", "NonMaxSuppression", "NonZero", "Unique")

_INLINE_INTEGERS = 4096
_INLINE_FLOATS = 64
"""Constants up to these sizes are given to the converters as values: they may be a shape,
an axis, a scale. Those that stay as tensors are lifted out again later."""


class _Names:
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


def to_relax(graph: OnnxGraph) -> tuple[tvm.IRModule, dict[str, Array]]:
    """Converts the graph.

    Returns:
        A module whose `main` takes the inputs, then the weights, and returns a tuple; and the
        weights by parameter name, in parameter order.

    Raises:
        ModelError: operators that cannot be converted, all of them in one message.
    """
    _check_supported(graph)
    emitter = _Emitter(graph)
    failure = None
    with emitter.builder.function("main", emitter.params, attrs={"num_input": len(graph.inputs)}):
        with emitter.builder.dataflow():
            try:
                for node in graph.nodes:
                    emitter.emit(node)
                outputs = [emitter.values[name] for name in graph.outputs]
            except ModelError as error:  # a builder left in the middle would warn on stderr
                failure, outputs = error, []
            result = emitter.builder.emit_output(relax.Tuple(outputs))
        emitter.builder.emit_func_output(result)
    if failure is not None:
        raise failure
    return emitter.builder.get(), emitter.weights


def _check_supported(graph: OnnxGraph) -> None:
    lacking = [node for node in graph.nodes if not is_convertible(node, graph)]
    for node in lacking:
        if node.op in _TRAINED:
            raise ModelError(
                f"{node.describe()} is in training mode; export the model for inference (in "
                "PyTorch, after model.eval())"
            )
    missing = sorted({_qualified(node) for node in lacking})
    if missing:
        one = len(missing) == 1
        raise ModelError(
            f"operator{'' if one else 's'} {', '.join(missing)} cannot be imported; export the "
            f"model without {'it' if one else 'them'} (a quantized model: in float32)"
        )


def _qualified(node: Node) -> str:
    return f"{node.domain}.{node.op}" if node.domain else node.op


class _Emitter:
    """The function while it is written."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.builder = relax.BlockBuilder()
        self.values: dict[str, Any] = {}
        self.weights: dict[str, Array] = {}
        self._graph = graph
        self._names = _Names()
        self.params = [self._parameter(name) for name in graph.inputs]
        used = {name for node in graph.nodes for name in node.inputs} | set(graph.outputs)
        for name, array in graph.constants.items():
            if name not in used or name in self.values:
                continue
            if _is_inline(array):
                self.values[name] = relax.const(array, str(array.dtype))
            else:
                self.params.append(self._parameter(name))
                self.weights[self.params[-1].name] = array

    def _parameter(self, name: str) -> relax.Var:
        kind = relax.TensorType(self._graph.shape(name), str(self._graph.dtype(name)))
        self.values[name] = relax.Var(self._names.safe(name), kind)
        return self.values[name]

    def emit(self, node: Node) -> None:
        """Adds a node's bindings."""
        values = [self.values[name] if name else None for name in node.inputs]
        try:
            inputs = check_indices(node, self._graph, self.builder, values)
            result = self.builder.normalize(self._convert(node, onnx_frontend.onnx_input(inputs)))
            fields = self._fields(result)
            for index, name in enumerate(node.outputs):
                if name and index >= len(fields):
                    raise ModelError(
                        f"{node.describe()} cannot be imported: its output {index} is not supported"
                    )
                if name:
                    self.values[name] = self._bound(fields[index], name, node)
        except ModelError:
            raise
        except Exception as error:  # of many kinds, from TVM's converters
            raise ModelError(f"{node.describe()} cannot be imported: {one_line(error)}") from error

    def _convert(self, node: Node, inputs: Any) -> Any:
        if node.op in CONVERTERS:
            result = CONVERTERS[node.op](node, self._graph, self.builder, inputs)
            if result is not None:
                return result
        converter = onnx_frontend._get_convert_map()[node.op].get_converter(node.opset)
        attributes = {a.name: _attribute_value(a) for a in node.proto.attribute}
        attributes["tvm_custom"] = {"name": node.proto.name, "num_outputs": len(node.outputs)}
        return converter(self.builder, inputs, attributes, [{}, {}])

    def _fields(self, result: Any) -> list[Any]:
        if isinstance(result, relax.Tuple):
            return list(result)
        if isinstance(result.ty, relax.TupleType):
            variable = self.builder.emit(result)
            return [relax.TupleGetItem(variable, i) for i in range(len(result.ty.fields))]
        return [result]

    def _bound(self, value: Any, name: str, node: Node) -> Any:
        """The value as a variable, its type checked against what ONNX says."""
        if not isinstance(value, (relax.Var, tvm.ir.GenericConst)):
            value = self.builder.emit(value, self._names.safe(name))
        dtype, shape = self._graph.dtype(name), self._graph.shape(name)
        if dtype is None:
            return value
        if str(value.ty.dtype) != str(dtype):
            return self.builder.emit(relax.op.astype(value, str(dtype)), self._names.safe(name))
        if shape is None:
            if node.op not in _SHAPED_BY_DATA and not has_static_shape(value):
                raise ModelError(
                    f"the shape of the result of {node.describe()} depends on the data, which is "
                    "not supported; export the model with fixed shapes"
                )
            return value
        if not has_static_shape(value):
            kind = relax.TensorType(shape, str(dtype))
            return self.builder.match_cast(value, kind, self._names.safe(name))
        if tuple(dims(value)) != shape:
            raise ModelError(
                f"{node.describe()} cannot be imported: it would get the shape {dims(value)} "
                f"instead of {list(shape)}"
            )
        return value


def _is_inline(array: Array) -> bool:
    limit = _INLINE_FLOATS if array.dtype.kind == "f" else _INLINE_INTEGERS
    return array.size <= limit


def _attribute_value(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    is_list = not isinstance(value, (int, float, bytes)) and hasattr(value, "__len__")
    return tuple(value) if is_list else value
