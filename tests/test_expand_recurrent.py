from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from jointdnn_tvm.errors import ModelError
from tests.onnx_models import Array, assert_same_answers, make_model, operators, simplified

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ACTIVATIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}


def recurrent_model(
    op: str,
    steps: int = 3,
    inputs: tuple[str, ...] = (),
    outputs: tuple[str, ...] = ("y", "h", "c"),
    seed: int = 0,
    **attributes: Any,
) -> Any:
    """`inputs` are those of bias, lengths, h, c and peepholes that the layer has."""
    rng = np.random.default_rng(seed)
    batch, width, hidden = 2, 3, 4
    sides = 2 if attributes.get("direction") == "bidirectional" else 1

    def weight(*shape: int) -> Array:
        return (0.5 * rng.standard_normal(shape)).astype(np.float32)

    wide = GATES[op] * hidden
    constants = {"w": weight(sides, wide, width), "r": weight(sides, wide, hidden)}
    possible = {
        "bias": weight(sides, 2 * wide),
        "lengths": np.full(batch, steps, np.int32),
        "h0": weight(sides, batch, hidden),
        "c0": weight(sides, batch, hidden),
        "p": weight(sides, 3 * hidden),
    }
    constants.update((name, possible[name]) for name in inputs)
    count = 8 if op == "LSTM" else 6
    names = ["x", "w", "r", *(name if name in inputs else "" for name in possible)][:count]
    wanted = list(outputs[: 3 if op == "LSTM" else 2])
    node = helper.make_node(op, names, wanted, hidden_size=hidden, **attributes)
    return make_model([node], {"x": (steps, batch, width)}, wanted, constants)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_same_as_onnxruntime(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    op = data.draw(st.sampled_from(list(GATES)))
    direction = data.draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    possible = ["bias", "lengths", "h0"] + (["c0", "p"] if op == "LSTM" else [])
    inputs = tuple(data.draw(st.lists(st.sampled_from(possible), unique=True)))
    attributes: dict[str, Any] = {"direction": direction}
    if data.draw(st.booleans()):
        attributes["clip"] = 0.7
    if op == "GRU":
        attributes["linear_before_reset"] = data.draw(st.integers(0, 1))
    if data.draw(st.booleans()):
        sides = 2 if direction == "bidirectional" else 1
        names = [
            data.draw(st.sampled_from(["Sigmoid", "Tanh", "Relu", "Softsign"]))
            for _ in range(ACTIVATIONS[op] * sides)
        ]
        attributes["activations"] = names
    model = recurrent_model(op, inputs=inputs, seed=data.draw(st.integers(0, 9)), **attributes)
    graph = assert_same_answers(model, tmp_path_factory.mktemp("model"))
    assert op not in operators(graph)


@pytest.mark.parametrize(("op", "products"), [("LSTM", 1), ("GRU", 2), ("RNN", 1)])
def test_one_product_for_the_inputs_of_all_steps(op: str, products: int, tmp_path: Path) -> None:
    five = simplified(recurrent_model(op, steps=5), tmp_path)
    six = simplified(recurrent_model(op, steps=6), tmp_path)
    counts = [operators(graph).count("MatMul") for graph in (five, six)]
    assert counts[1] - counts[0] == products


def test_only_wanted_outputs(tmp_path: Path) -> None:
    model = recurrent_model("LSTM", outputs=("", "h", ""))
    del model.graph.output[:]
    model.graph.output.add().name = "h"
    graph = assert_same_answers(model, tmp_path)
    assert len(graph.outputs) == 1


def test_activation_with_parameters(tmp_path: Path) -> None:
    model = recurrent_model(
        "RNN", activations=["LeakyRelu"], activation_alpha=[0.3], direction="reverse"
    )
    assert_same_answers(model, tmp_path)


def test_lengths_that_differ(tmp_path: Path) -> None:
    model = recurrent_model("GRU", inputs=("lengths",))
    for tensor in model.graph.initializer:
        if tensor.name == "lengths":
            tensor.raw_data = np.array([3, 2], np.int32).tobytes()
    with pytest.raises(ModelError, match="sequence lengths that are not all 3"):
        simplified(model, tmp_path)


def test_unknown_activation(tmp_path: Path) -> None:
    model = recurrent_model("RNN", activations=["Affine"])
    with pytest.raises(ModelError, match="activation Affine"):
        simplified(model, tmp_path)


def test_coupled_gates(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="couples its input and forget gates"):
        simplified(recurrent_model("LSTM", input_forget=1), tmp_path)


def test_too_many_steps(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="takes 2000 steps, more than the 512"):
        simplified(recurrent_model("RNN", steps=2000), tmp_path)
