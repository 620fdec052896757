"""Writes the nodes that a rewrite puts in another's place."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph, make_node


class Writer:
    """Collects nodes. Each call adds one and returns the name of its result.

    >>> write = Writer(node, graph)
    >>> total = write("Add", a, b)
    >>> return write.finish("Relu", total)
    """

    def __init__(self, node: Node, graph: OnnxGraph) -> None:
        self._hint = next((name for name in node.outputs if name), node.op)
        self._node = node
        self._graph = graph
        self.nodes: list[Node] = []

    def __call__(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output."""
        output = self._graph.fresh(f"{self._hint}.{op}")
        self.nodes.append(make_node(op, list(inputs), [output], **attributes))
        return output

    def produce(self, output: str, op: str, *inputs: str, **attributes: Any) -> None:
        """Adds a node whose result has this name, if anybody wants it."""
        if output:
            self.nodes.append(make_node(op, list(inputs), [output], **attributes))

    def finish(self, op: str, *inputs: str, **attributes: Any) -> list[Node]:
        """Adds the node that produces the first output of the one replaced; returns all nodes."""
        self.produce(self._node.outputs[0], op, *inputs, **attributes)
        return self.nodes

    def split(self, name: str, parts: int | list[int], axis: int) -> list[str]:
        """Adds a split into so many equal parts, or into parts of these sizes."""
        count = parts if isinstance(parts, int) else len(parts)
        if count == 1:
            return [name]
        outputs = [self._graph.fresh(f"{self._hint}.part") for _ in range(count)]
        if isinstance(parts, int):
            self.nodes.append(make_node("Split", [name], outputs, axis=axis, num_outputs=parts))
        else:
            self.nodes.append(make_node("Split", [name, self.ints(*parts)], outputs, axis=axis))
        return outputs

    def unsqueeze(self, name: str, *axes: int) -> str:
        """Adds dimensions of one element."""
        return self("Unsqueeze", name, self.ints(*axes))

    def squeeze(self, name: str, *axes: int) -> str:
        """Drops dimensions of one element."""
        return self("Squeeze", name, self.ints(*axes))

    def ints(self, *values: int) -> str:
        """A constant list of integers."""
        return self._graph.constant(np.array(values, np.int64))

    def cast(self, name: str, dtype: np.dtype[Any]) -> str:
        """A value in another element type."""
        if self._graph.dtype(name) == dtype:
            return name
        return self("Cast", name, to=self.element_type(dtype))

    @staticmethod
    def element_type(dtype: np.dtype[Any]) -> int:
        """ONNX's number for an element type."""
        return int(helper.np_dtype_to_tensor_dtype(dtype))

    def constant(self, value: Any) -> str:
        """A constant."""
        return self._graph.constant(np.asarray(value))

    def scalar(self, value: int) -> str:
        """A constant integer."""
        return self._graph.constant(np.array(value, np.int64))

    def like(self, value: Any, name: str) -> str:
        """A constant of the element type of another value."""
        return self._graph.constant(np.asarray(value, self._graph.dtype(name)))
