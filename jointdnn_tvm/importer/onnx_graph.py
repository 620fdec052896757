"""The ONNX graph while it is rewritten: nodes in order, numpy constants, inferred types."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

Array = np.ndarray[Any, Any]

RULE_OPSET = 18
"""The ONNX version in which the rewrites of this package write their nodes."""


@dataclass(frozen=True)
class Node:
    """One ONNX node, and the version of the operator set that it is written in."""

    proto: onnx.NodeProto
    opset: int = RULE_OPSET

    @property
    def op(self) -> str:
        """The operator's type, such as ``Conv``."""
        return str(self.proto.op_type)

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs; an optional one that is absent is the empty string."""
        return list(self.proto.input)

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs; one that nobody wants is the empty string."""
        return list(self.proto.output)

    @property
    def domain(self) -> str:
        """The operator's domain; the default one is the empty string."""
        return "" if self.proto.domain == "ai.onnx" else str(self.proto.domain)

    @property
    def has_subgraph(self) -> bool:
        """Whether this is a branch or a loop."""
        return any(attribute.HasField("g") for attribute in self.proto.attribute)

    def input(self, index: int) -> str:
        """The name of an input, empty where it is absent."""
        return str(self.proto.input[index]) if index < len(self.proto.input) else ""

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute, text decoded, lists as lists."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                value = helper.get_attribute_value(attribute)
                if isinstance(value, bytes):
                    return value.decode("utf-8", "replace")
                return list(value) if attribute.ints or attribute.floats else value
        return default

    def with_names(self, inputs: list[str], outputs: list[str]) -> Node:
        """The same node between other values."""
        if inputs == self.inputs and outputs == self.outputs:
            return self
        proto = onnx.NodeProto()
        proto.CopyFrom(self.proto)
        proto.input[:] = inputs
        proto.output[:] = outputs
        return Node(proto, self.opset)

    def with_inputs(self, rename: Callable[[str], str]) -> Node:
        """The same node with its inputs renamed, those of its subgraphs left alone."""
        return self.with_names([rename(name) for name in self.inputs], self.outputs)

    def describe(self) -> str:
        """How an error message names this node."""
        name = self.proto.name or (self.outputs[0] if self.outputs else "")
        return f"node '{name}' ({self.op})"


@dataclass
class OnnxGraph:
    """A network as ONNX nodes.

    Constants are numpy arrays and are not among the nodes. `types` holds an
    `onnx.TypeProto` for every value whose type is known. `sequences` holds the parts of values
    that are sequences of tensors.
    """

    inputs: list[str]
    outputs: list[str]
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    types: dict[str, onnx.TypeProto] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    functions: dict[tuple[str, str], onnx.FunctionProto] = field(default_factory=dict)
    sequences: dict[str, list[str]] = field(default_factory=dict)
    _renamed: dict[str, str] = field(default_factory=dict)
    _fresh: Any = field(default_factory=itertools.count)

    def fresh(self, hint: str) -> str:
        """A name that no other value has."""
        return f"{hint}.{next(self._fresh)}"

    def constant(self, array: Any, hint: str = "constant") -> str:
        """Adds a constant and returns its name."""
        name = self.fresh(hint)
        self.set_constant(name, np.asarray(array))
        return name

    def set_constant(self, name: str, array: Array) -> None:
        """Makes `name` a constant."""
        self.constants[name] = array
        element = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.types[name] = helper.make_tensor_type_proto(element, array.shape)

    def settle_empty(self, name: str) -> None:
        """A tensor without elements is a constant, whatever computes it."""
        shape, dtype = self.shape(name), self.dtype(name)
        if shape is not None and dtype is not None and 0 in shape:
            self.constants[name] = np.zeros(shape, dtype)

    def replace(self, old: str, new: str) -> None:
        """From here on `old` is just another name of `new`."""
        self._renamed[old] = new

    def resolve(self, name: str) -> str:
        """The name under which a value is really known."""
        while name in self._renamed:
            name = self._renamed[name]
        return name

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The static shape of a value, or None where a dimension is not known."""
        kind = self.types.get(name)
        if kind is None or not kind.tensor_type.HasField("shape"):
            return None
        dims = kind.tensor_type.shape.dim
        if not all(dim.HasField("dim_value") for dim in dims):
            return None
        return tuple(dim.dim_value for dim in dims)

    def dtype(self, name: str) -> np.dtype[Any] | None:
        """The element type of a value, or None where it is not known."""
        kind = self.types.get(name)
        if kind is None or not kind.tensor_type.elem_type:
            return None
        return np.dtype(helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type))


def make_node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Node:
    """A node of the default domain in version `RULE_OPSET`."""
    return Node(helper.make_node(op, inputs, outputs, **attributes))
