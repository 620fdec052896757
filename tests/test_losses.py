"""Losses against formulas in NumPy, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.training.labels import LabelSpec
from jointdnn_tvm.training.losses import LOSSES, CrossEntropy, Huber, Loss, OwnLoss, loss_named
from tests.gradient_checks import Array, check_gradients, gradients_of

op = relax.op


def _log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis, keepdims=True)))


def _cross_entropy(x: Array, ids: Array, axis: int) -> float:
    picked = np.take_along_axis(_log_softmax(x, axis), np.expand_dims(ids, axis), axis)
    return float(-picked.mean())


def _value(loss: Loss, output: Array, label: Array) -> float:
    function = gradients_of(lambda b, x, y: loss.value(b, x, y), [output, label], [0])
    factor = float(np.random.default_rng(1).standard_normal())  # of the checks
    return float(function(output, label)[0]) / factor


def _check(loss: Loss, output: Array, label: Array) -> None:
    check_gradients(lambda b, x, y: loss.value(b, x, y), output, label, varied=[0])


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 5), 1), ((4, 5), -1), ((2, 5, 3), 1), ((2, 3, 5), -1), ((5,), 0)]
)
def test_cross_entropy(shape: tuple[int, ...], axis: int) -> None:
    rng = np.random.default_rng(0)
    output = rng.standard_normal(shape) * 3
    ids = rng.integers(0, 5, [n for i, n in enumerate(shape) if i != axis % len(shape)])
    loss = CrossEntropy(axis)
    kind = loss.label(relax.Var("y", relax.TensorType(shape, "float64")))
    assert kind == LabelSpec("label", ids.shape, "int64", 5, axis % len(shape))
    np.testing.assert_allclose(_value(loss, output, ids), _cross_entropy(output, ids, axis))
    _check(loss, output, ids)


def test_cross_entropy_of_a_softmax_is_taken_before_it() -> None:
    rng = np.random.default_rng(0)
    output, ids = rng.standard_normal((4, 5)) * 50, rng.integers(0, 5, 4)

    def after(axis: int) -> Any:
        def compute(builder: relax.BlockBuilder, x: Any, y: Any) -> Any:
            probabilities = builder.emit(op.nn.softmax(x, axis))
            return CrossEntropy().value(builder, probabilities, y)

        return gradients_of(compute, [output, ids], [0])(output, ids)[0]

    plain = gradients_of(lambda b, x, y: CrossEntropy().value(b, x, y), [output, ids], [0])
    np.testing.assert_array_equal(after(1), plain(output, ids)[0])
    assert abs(after(0) - plain(output, ids)[0]) > 1e-3  # over other rows


FORMULAS = {
    "soft-cross-entropy": lambda x, y: -(y * _log_softmax(x, 1)).sum(1).mean(),
    "mse": lambda x, y: ((x - y) ** 2).mean(),
    "l1": lambda x, y: np.abs(x - y).mean(),
    "huber": lambda x, y: np.where(np.abs(x - y) < 1, (x - y) ** 2 / 2, np.abs(x - y) - 0.5).mean(),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_against_a_formula(name: str) -> None:
    rng = np.random.default_rng(0)
    output, label = rng.standard_normal((4, 5)) * 2, rng.random((4, 5))
    loss = LOSSES[name]()
    variable = relax.Var("y", relax.TensorType((4, 5), "float64"))
    classes = {"class_axis": 1} if "cross" in name else {}
    assert loss.label(variable) == LabelSpec("label", (4, 5), "float64", **classes)
    np.testing.assert_allclose(_value(loss, output, label), FORMULAS[name](output, label))
    _check(loss, output, label)


def test_huber_is_straight_beyond_delta() -> None:
    output, label = np.array([0.0, 0.1, 4.0]), np.zeros(3)
    expected = (0.1**2 / 2 + 0.25 * (4 - 0.125)) / 3
    np.testing.assert_allclose(_value(Huber(0.25), output, label), expected)


def test_loss_of_the_network_itself() -> None:
    output = np.array([1.0, 2.0, 6.0])
    np.testing.assert_allclose(_value(OwnLoss(), output, output), 3)


def test_names() -> None:
    assert loss_named("cross-entropy", -1) == CrossEntropy(-1)
    assert loss_named("huber") == Huber()
    with pytest.raises(ModelError, match="no loss is named 'hinge'; there are cross-entropy, soft"):
        loss_named("hinge")


def test_dimension_of_classes_that_there_is_not() -> None:
    variable = relax.Var("y", relax.TensorType((4, 5), "float64"))
    for axis in (2, -3):
        with pytest.raises(ModelError, match=rf"shape \[4, 5\] has no dimension {axis} for the"):
            CrossEntropy(axis).label(variable)
