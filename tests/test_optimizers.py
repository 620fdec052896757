"""Optimizers, a few steps of one weight against formulas in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import relax

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.training.optimizers import (
    OPTIMIZERS,
    Adam,
    AdamW,
    Optimizer,
    Sgd,
    optimizer_named,
)
from tests.gradient_checks import Array, compiled

RATES = [0.1, 0.1, 0.05, 0.2]


def _run(optimizer: Optimizer, weight: Array, gradients: list[Array]) -> Array:
    names = list(optimizer.numbers(1.0, 1))
    shape = weight.shape
    builder = relax.BlockBuilder()
    tensors = [
        relax.Var(n, relax.TensorType(shape, "float64")) for n in ("w", "g", *optimizer.slots)
    ]
    numbers = [relax.Var(n, relax.TensorType((), "float64")) for n in names]
    with builder.function("main", [*tensors, *numbers]):
        with builder.dataflow():
            new, slots = optimizer.update(
                tensors[0],
                tensors[1],
                dict(zip(optimizer.slots, tensors[2:], strict=True)),
                dict(zip(names, numbers, strict=True)),
            )
            fields = [builder.emit(new), *(builder.emit(slots[n]) for n in optimizer.slots)]
            output = builder.emit_output(relax.Tuple(fields))
        builder.emit_func_output(output)
    step = compiled(builder.get())
    kept = [np.zeros(shape) for _ in optimizer.slots]
    for number, (gradient, rate) in enumerate(zip(gradients, RATES, strict=True), start=1):
        given = [np.array(v) for v in optimizer.numbers(rate, number).values()]
        weight, *kept = step(weight, gradient, *kept, *given)
    return weight


def _sgd(momentum: float, nesterov: bool, decay: float) -> Callable[[Array, list[Array]], Array]:
    def run(w: Array, gradients: list[Array]) -> Array:
        velocity = np.zeros_like(w)
        for g, rate in zip(gradients, RATES, strict=True):
            g = g + decay * w
            velocity = momentum * velocity + g
            w = w - rate * (g + momentum * velocity if nesterov else velocity)
        return w

    return run


def _adam(l2: float, decay: float) -> Callable[[Array, list[Array]], Array]:
    def run(w: Array, gradients: list[Array]) -> Array:
        mean, square = np.zeros_like(w), np.zeros_like(w)
        for t, (g, rate) in enumerate(zip(gradients, RATES, strict=True), start=1):
            g = g + l2 * w
            w = w * (1 - rate * decay)
            mean = 0.8 * mean + 0.2 * g
            square = 0.9 * square + 0.1 * g * g
            unbiased = mean / (1 - 0.8**t), square / (1 - 0.9**t)
            w = w - rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-3)
        return w

    return run


BETAS: dict[str, Any] = {"betas": (0.8, 0.9), "epsilon": 1e-3}


@pytest.mark.parametrize(
    ("optimizer", "formula"),
    [
        (Sgd(), _sgd(0, False, 0)),
        (Sgd(weight_decay=0.1), _sgd(0, False, 0.1)),
        (Sgd(momentum=0.9), _sgd(0.9, False, 0)),
        (Sgd(momentum=0.9, nesterov=True, weight_decay=0.1), _sgd(0.9, True, 0.1)),
        (Adam(**BETAS), _adam(0, 0)),
        (Adam(**BETAS, weight_decay=0.1), _adam(0.1, 0)),
        (AdamW(**BETAS, weight_decay=0.1), _adam(0, 0.1)),
    ],
    ids=["sgd", "sgd-decay", "momentum", "nesterov-decay", "adam", "adam-decay", "adamw"],
)
def test_against_a_formula(
    optimizer: Optimizer, formula: Callable[[Array, list[Array]], Array]
) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((3, 4))
    gradients = [rng.standard_normal((3, 4)) for _ in RATES]
    np.testing.assert_allclose(
        _run(optimizer, weight, gradients), formula(weight, gradients), rtol=1e-10
    )


def test_names() -> None:
    assert {name: type(make()).__name__ for name, make in OPTIMIZERS.items()} == {
        "sgd": "Sgd",
        "momentum": "Sgd",
        "nesterov": "Sgd",
        "adam": "Adam",
        "adamw": "AdamW",
    }
    assert OPTIMIZERS["nesterov"]() == Sgd(momentum=0.9, nesterov=True)


def test_settings_and_names_that_there_are_not() -> None:
    assert optimizer_named("momentum", momentum=None, weight_decay=0.1) == Sgd(0.9, False, 0.1)
    assert optimizer_named("adamw") == AdamW()
    with pytest.raises(ModelError, match="no optimizer is named 'lion'; there are sgd, momentum"):
        optimizer_named("lion")
    with pytest.raises(ModelError, match="optimizer 'adam' has no momentum; leave it out"):
        optimizer_named("adam", momentum=0.5)
