"""LSTM, GRU and RNN of a known length become matrix products and elementwise operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.node_writer import Writer
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph
from jointdnn_tvm.importer.unroll_control_flow import check_steps

_ACTIVATIONS = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_KNOWN = {
    *("Elu", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"),
    "ThresholdedRelu",
}


def expand_recurrent(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """The layer unrolled over time.

    Raises:
        ModelError: an option that is not supported, or a sequence that is too long.
    """
    if node.op not in _GATES or node.domain:
        return None
    shape = graph.shape(node.input(0))
    if shape is None:
        return None
    layer = _Layer(node, graph)
    layer.check(shape)
    return layer.expand()


@dataclass
class _Direction:
    """What one direction of the layer computes with."""

    weight: str  # [inputs, gates * hidden]
    recurrent: str  # [hidden, gates * hidden]
    bias: str  # [gates * hidden] of the input, or of both
    recurrent_bias: str  # [gates * hidden], GRU only
    peepholes: list[str]
    activations: list[tuple[str, dict[str, float]]]


class _Layer:
    def __init__(self, node: Node, graph: OnnxGraph) -> None:
        self._node = node
        self._graph = graph
        self._emit = Writer(node, graph)
        self._gates = _GATES[node.op]
        self._batch_first = bool(node.attribute("layout", 0))
        self._clip = node.attribute("clip")
        directions = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
        self._reversed = directions[node.attribute("direction", "forward")]

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuses what cannot be expanded."""
        self._steps, self._batch = shape[self._batch_first], shape[not self._batch_first]
        check_steps(self._steps, self._node)
        lengths = self._node.input(4)
        known = self._graph.constants.get(lengths)
        if lengths and (known is None or (known != self._steps).any()):
            raise ModelError(
                f"{self._node.describe()} has sequence lengths that are not all {self._steps}; "
                "export the model without sequence_lens"
            )
        names = set(self._node.attribute("activations", []))
        unknown = {name.decode() for name in names} - _KNOWN
        if unknown:
            raise ModelError(
                f"{self._node.describe()} uses the activation {', '.join(sorted(unknown))}, which "
                f"is not supported; supported are {', '.join(sorted(_KNOWN))}"
            )
        if self._node.attribute("input_forget", 0):
            raise ModelError(
                f"{self._node.describe()} couples its input and forget gates, which is not "
                "supported; export it with input_forget=0"
            )
        weight_shape = self._graph.shape(self._node.input(2))
        self._hidden = weight_shape[-1] if weight_shape else self._node.attribute("hidden_size")

    def expand(self) -> list[Node]:
        """All nodes; the last ones produce the node's outputs."""
        node = self._node
        sequence = node.input(0)
        if self._batch_first:
            sequence = self._emit("Transpose", sequence, perm=[1, 0, 2])
        lasts: list[list[str]] = []
        everything = []
        for index, is_reversed in enumerate(self._reversed):
            rows, state = self._run(self._direction(index), index, sequence, is_reversed)
            everything.append(rows)
            lasts.append(state)
        self._outputs(everything, lasts)
        return self._emit.nodes

    def _run(
        self, direction: _Direction, index: int, sequence: str, is_reversed: bool
    ) -> tuple[list[str], list[str]]:
        """One direction over all steps: the hidden state of each step in order, the last state."""
        projected = self._emit("MatMul", sequence, direction.weight)
        projected = self._emit("Add", projected, direction.bias)
        rows = self._emit.split(projected, self._steps, axis=0)
        rows = [self._emit.squeeze(row, 0) for row in rows]
        hidden = self._initial(5, index)
        cell = self._initial(6, index) if self._node.op == "LSTM" else ""
        states = []
        for row in reversed(rows) if is_reversed else rows:
            if self._node.op == "LSTM":
                hidden, cell = self._lstm_step(row, hidden, cell, direction)
            elif self._node.op == "GRU":
                hidden = self._gru_step(row, hidden, direction)
            else:
                gate = self._emit("Add", row, self._emit("MatMul", hidden, direction.recurrent))
                hidden = self._activate(gate, direction.activations[0])
            states.append(hidden)
        return states[::-1] if is_reversed else states, [hidden, cell]

    def _lstm_step(
        self, row: str, hidden: str, cell: str, direction: _Direction
    ) -> tuple[str, str]:
        f, g, h = direction.activations
        gates = self._emit("Add", row, self._emit("MatMul", hidden, direction.recurrent))
        if direction.peepholes:
            i, o, forget, c = self._emit.split(gates, 4, axis=1)
            i = self._emit("Add", i, self._emit("Mul", direction.peepholes[0], cell))
            forget = self._emit("Add", forget, self._emit("Mul", direction.peepholes[2], cell))
            i, forget = self._activate(i, f), self._activate(forget, f)
            out_gate = ""
        else:  # one activation for the three gates that lie side by side
            three, c = self._emit.split(gates, [3 * self._hidden, self._hidden], axis=1)
            i, out_gate, forget = self._emit.split(self._activate(three, f), 3, axis=1)
            o = ""
        kept = self._emit("Mul", forget, cell)
        new = self._emit("Add", kept, self._emit("Mul", i, self._activate(c, g)))
        if not out_gate:
            o = self._emit("Add", o, self._emit("Mul", direction.peepholes[1], new))
            out_gate = self._activate(o, f)
        squashed = self._activate(new, h, clip=False)
        return self._emit("Mul", out_gate, squashed), new

    def _gru_step(self, row: str, hidden: str, direction: _Direction) -> str:
        f, g = direction.activations
        both = [2 * self._hidden, self._hidden]
        row_zr, row_h = self._emit.split(row, both, axis=1)
        if self._node.attribute("linear_before_reset", 0):
            product = self._emit("MatMul", hidden, direction.recurrent)
            product = self._emit("Add", product, direction.recurrent_bias)
            product_zr, product_h = self._emit.split(product, both, axis=1)
            z, r = self._emit.split(
                self._activate(self._emit("Add", row_zr, product_zr), f), 2, axis=1
            )
            candidate = self._emit("Mul", r, product_h)
        else:
            weight_zr, weight_h = self._emit.split(direction.recurrent, both, axis=1)
            bias_zr, bias_h = self._emit.split(direction.recurrent_bias, both, axis=0)
            product = self._emit("Add", self._emit("MatMul", hidden, weight_zr), bias_zr)
            z, r = self._emit.split(
                self._activate(self._emit("Add", row_zr, product), f), 2, axis=1
            )
            candidate = self._emit("MatMul", self._emit("Mul", r, hidden), weight_h)
            candidate = self._emit("Add", candidate, bias_h)
        candidate = self._activate(self._emit("Add", row_h, candidate), g)
        # (1 - z) * candidate + z * hidden, with one product less
        difference = self._emit("Sub", hidden, candidate)
        return self._emit("Add", candidate, self._emit("Mul", z, difference))

    def _direction(self, index: int) -> _Direction:
        node, wide = self._node, self._gates * self._hidden
        weight = self._emit("Transpose", self._pick(node.input(1), index), perm=[1, 0])
        recurrent = self._emit("Transpose", self._pick(node.input(2), index), perm=[1, 0])
        zeros = self._like(np.zeros(wide))
        bias = recurrent_bias = zeros
        if node.input(3):
            bias, recurrent_bias = self._emit.split(self._pick(node.input(3), index), 2, axis=0)
            if node.op != "GRU":
                bias = self._emit("Add", bias, recurrent_bias)
        peepholes = []
        if node.input(7):
            peepholes = self._emit.split(self._pick(node.input(7), index), 3, axis=0)
        return _Direction(
            weight, recurrent, bias, recurrent_bias, peepholes, self._activations(index)
        )

    def _activations(self, index: int) -> list[tuple[str, dict[str, float]]]:
        defaults = _ACTIVATIONS[self._node.op]
        names = [name.decode() for name in self._node.attribute("activations", [])]
        names = names or list(defaults) * len(self._reversed)
        alphas = list(self._node.attribute("activation_alpha", []))
        betas = list(self._node.attribute("activation_beta", []))
        chosen = []
        for name in names:  # the lists hold values only for activations that take them
            options = {}
            if name in ("LeakyRelu", "HardSigmoid", "Elu", "ThresholdedRelu") and alphas:
                options["alpha"] = alphas.pop(0)
            if name == "HardSigmoid" and betas:
                options["beta"] = betas.pop(0)
            chosen.append((name, options))
        return chosen[index * len(defaults) : (index + 1) * len(defaults)]

    def _initial(self, position: int, index: int) -> str:
        name = self._node.input(position)
        if not name:
            return self._like(np.zeros((self._batch, self._hidden)))
        if self._batch_first:
            name = self._emit("Transpose", name, perm=[1, 0, 2])
        return self._pick(name, index)

    def _outputs(self, rows: list[list[str]], lasts: list[list[str]]) -> None:
        outputs = [*self._node.outputs, "", "", ""][:3]
        if outputs[0]:
            sides = [
                self._emit("Concat", *[self._emit.unsqueeze(r, 0) for r in states], axis=0)
                for states in rows
            ]
            order = [1, 0, 2] if self._batch_first else None
            sides = [self._emit("Transpose", s, perm=order) if order else s for s in sides]
            where = 2 if self._batch_first else 1
            parts = [self._emit.unsqueeze(side, where) for side in sides]
            self._emit.produce(outputs[0], "Concat", *parts, axis=where)
        for output, states in zip(outputs[1:], zip(*lasts, strict=True), strict=True):
            if output:
                axis = 1 if self._batch_first else 0
                parts = [self._emit.unsqueeze(state, axis) for state in states]
                self._emit.produce(output, "Concat", *parts, axis=axis)

    def _activate(self, value: str, kind: tuple[str, dict[str, float]], clip: bool = True) -> str:
        name, options = kind
        if clip and self._clip:
            bounds = [self._like(-self._clip), self._like(self._clip)]
            value = self._emit("Clip", value, *bounds)
        return self._emit(name, value, **options)

    def _pick(self, name: str, index: int) -> str:
        """One direction's part of a weight."""
        part = self._emit(
            "Slice", name, self._emit.ints(index), self._emit.ints(index + 1), self._emit.ints(0)
        )
        return self._emit.squeeze(part, 0)

    def _like(self, value: Any) -> str:
        return self._emit.like(value, self._node.input(0))
