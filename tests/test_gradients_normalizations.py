"""Gradients of softmax and of normalisations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from tvm import relax

from tests.gradient_checks import Array, check_against, check_gradients

op = relax.op


def _normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name: str, axis: int) -> None:
    check_gradients(lambda _, x: getattr(op.nn, name)(x, axis), _normal(3, 4, 5))


def _normalised(x: Array, axes: Sequence[int], epsilon: float) -> Array:
    around = x - x.mean(tuple(axes), keepdims=True)
    variance = (around**2).mean(tuple(axes), keepdims=True)
    return np.asarray(around / np.sqrt(variance + epsilon))


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("axes", [[-1], [1, 2], [2]])
def test_layer_norm(axes: list[int], scale: bool, center: bool) -> None:
    shape = [(3, 4, 5)[axis] for axis in axes]

    def compute(_: relax.BlockBuilder, *operands: relax.Expr) -> relax.Expr:
        return op.nn.layer_norm(*operands, axes, epsilon=0.1, center=center, scale=scale)

    def reference(x: Array, gamma: Array, beta: Array) -> Array:
        return np.asarray(_normalised(x, axes, 0.1) * gamma**scale + beta * center)

    operands = _normal(3, 4, 5), _normal(*shape, seed=1), _normal(*shape, seed=2)
    check_against(compute, reference, *operands, varied=[0] + [1] * scale + [2] * center)


@pytest.mark.parametrize("axes", [[-1], [1, 2]])
def test_rms_norm(axes: list[int]) -> None:
    shape = [(3, 4, 5)[axis] for axis in axes]

    def reference(x: Array, gamma: Array) -> Array:
        power = (x**2).mean(tuple(axes), keepdims=True)
        return np.asarray(x / np.sqrt(power + 0.1) * gamma)

    check_against(
        lambda _, x, gamma: op.nn.rms_norm(x, gamma, axes, epsilon=0.1),
        reference,
        _normal(3, 4, 5),
        _normal(*shape, seed=1),
        varied=[0, 1],
    )


def _first(x: Array) -> Array:
    return np.moveaxis(x, -1, 1)


def _same(x: Array) -> Array:
    return x


@pytest.mark.parametrize(
    ("channel", "axes", "turn"),
    [(1, [2, 3], _same), (3, [1, 2], _first), (-1, [1, 2], _first)],
)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(
    groups: int, channel: int, axes: list[int], turn: Callable[[Array], Array]
) -> None:
    shape = (2, 6, 3, 4) if channel == 1 else (2, 3, 4, 6)

    def compute(_: relax.BlockBuilder, *operands: relax.Expr) -> relax.Expr:
        return op.nn.group_norm(*operands, groups, channel, axes, epsilon=0.01)

    def reference(x: Array, gamma: Array, beta: Array) -> Array:
        split = turn(x).reshape(2, groups, -1)
        whole = _normalised(split, [2], 0.01).reshape(turn(x).shape)
        scaled = whole * gamma[:, None, None] + beta[:, None, None]
        return scaled if channel == 1 else np.moveaxis(scaled, 1, -1)

    operands = _normal(*shape), _normal(6, seed=1), _normal(6, seed=2)
    check_against(compute, reference, *operands, varied=[0, 1, 2])
