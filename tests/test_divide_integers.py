"""Whole numbers divided on a processor that traps, through the whole pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from jointdnn_tvm.building import build
from jointdnn_tvm.network import load_network
from jointdnn_tvm.runtime.session import open_session
from tests.onnx_models import Array, make_model, save
from tests.tiny_models import plan_of


def run(model: onnx.ModelProto, feeds: dict[str, Array], folder: Path) -> list[Array]:
    """The answer of the model as users compile it, whole on the phone."""
    network = load_network(save(model, folder))
    placement: Any = {group.name: "mobile" for group in network.graph.groups}
    bundle = build(network, plan_of(network, placement)).save(folder / "model.jd")
    with open_session(bundle) as session:
        return list(session.run(feeds).values())


DIVISORS = [3, -3, 0, -1, 1, -7]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint32])
def test_division_of_whole_numbers(dtype: type, known: bool, tmp_path: Path) -> None:
    """By 0 it gives 0, and the quotient that is too large for its type comes round."""
    limits = np.iinfo(dtype)
    x: Array = np.array([7, limits.min, limits.max, 0, 8], dtype).reshape(5, 1)
    divisor: Array = np.array(DIVISORS).astype(dtype)
    nodes = [
        helper.make_node("Div", ["x", "d"], ["quotient"]),
        helper.make_node("Mod", ["x", "d"], ["modulo"]),
        helper.make_node("Mod", ["x", "d"], ["remainder"], fmod=1),
    ]
    given = {"d": divisor}
    inputs = {"x": x} if known else {"x": x, **given}
    outputs = ["quotient", "modulo", "remainder"]
    model = make_model(nodes, inputs, outputs, given if known else {})
    quotient, modulo, remainder = run(model, inputs, tmp_path)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(modulo, np.mod(x, divisor))
        np.testing.assert_array_equal(remainder, np.fmod(x, divisor))
    expected = [[truncated(int(a), int(b), limits) for b in divisor] for a in x.ravel()]
    assert quotient.tolist() == expected


def truncated(a: int, b: int, limits: Any) -> int:
    """The quotient toward zero, in the range of a type."""
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else 0
    return int((quotient - limits.min) % (1 << limits.bits) + limits.min)


def test_division_of_constants_by_zero(tmp_path: Path) -> None:
    nodes = [helper.make_node("Div", ["n", "d"], ["q"]), helper.make_node("Add", ["x", "q"], ["y"])]
    constants = {"n": np.array([5, -6]), "d": np.array([0, 2])}
    x = np.array([1, 1])
    model = make_model(nodes, {"x": x}, ["y"], constants)
    (answer,) = run(model, {"x": x}, tmp_path)
    assert answer.tolist() == [1, -2]


@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_division_that_the_model_guards_itself(op: str, tmp_path: Path) -> None:
    """The guard is no reason to divide by the guarded divisor first."""
    nodes = [
        helper.make_node("Equal", ["d", "zero"], ["guard"]),
        helper.make_node(op, ["x", "d"], ["q"]),
        helper.make_node("Where", ["guard", "x", "q"], ["y"]),
    ]
    feeds = {"x": np.array([7, 8, 9, 10], np.int32), "d": np.array([0, 3, 0, -1], np.int32)}
    model = make_model(nodes, feeds, ["y"], {"zero": np.array(0, np.int32)})
    (answer,) = run(model, feeds, tmp_path)
    assert answer.tolist() == ([7, 2, 9, -10] if op == "Div" else [7, 2, 9, 0])


def test_numbers_that_cannot_trap_are_left_alone(tmp_path: Path) -> None:
    x = np.array([7, -8], np.int64)
    model = make_model([helper.make_node("Div", ["x", "d"], ["y"])], {"x": x}, ["y"], {"d": x + 1})
    network = load_network(save(model, tmp_path))
    assert [group.operators for group in network.graph.groups] == [("divide",)]
    assert "call_tir" not in network.module.script()
