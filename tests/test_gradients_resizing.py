"""Gradients of resizes of all kinds that the importer leaves to TVM's operator."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from jointdnn_tvm.passes.gradients.resizing import refused_resize
from tests.gradient_checks import check_against, compiled
from tests.tiny_models import relax_main

op = relax.op

MODES = ("align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("method", "rounding"),
    [
        ("linear", ""),
        ("nearest_neighbor", ""),
        ("nearest_neighbor", "floor"),
        ("nearest_neighbor", "ceil"),
        ("nearest_neighbor", "round_prefer_floor"),
        ("nearest_neighbor", "round_prefer_ceil"),
    ],
)
def test_derivative(method: str, rounding: str, mode: str) -> None:
    _check(method, rounding, mode, "NHWC", (6, 20))


@pytest.mark.parametrize("size", [(7, 2), (3, 15)], ids=str)
@pytest.mark.parametrize("method", ["linear", "nearest_neighbor"])
def test_derivative_where_channels_come_first(method: str, size: tuple[int, int]) -> None:
    _check(method, "", "half_pixel", "NCHW", size)


def _check(method: str, rounding: str, mode: str, layout: str, size: tuple[int, int]) -> None:
    shape = (2, 3, 5, 2) if layout == "NHWC" else (2, 2, 3, 5)

    def compute(_: relax.BlockBuilder, x: relax.Expr) -> relax.Expr:
        return op.image.resize2d(
            x,
            size,
            layout=layout,
            method=method,
            coordinate_transformation_mode=mode,
            rounding_method=rounding,
        )

    # It is linear, but TVM computes coordinates in float32 whatever the operand is.
    forward = compiled(relax_main({"x": shape}, {}, lambda b, x: [b.emit(compute(b, x))]))
    basis = np.eye(60, dtype=np.float32).reshape(60, *shape)
    columns = [forward(unit)[0] for unit in basis]
    matrix = np.stack(columns).astype(np.float64).reshape(60, -1)

    def reference(x: np.ndarray) -> np.ndarray:
        return np.asarray(x.ravel() @ matrix).reshape(columns[0].shape)

    x = np.random.default_rng(0).standard_normal(shape)
    check_against(compute, reference, x, varied=[0])


def test_others_are_refused() -> None:
    x = relax.Var("x", relax.TensorType((1, 3, 8, 8), "float32"))
    call = relax.BlockBuilder().normalize(op.image.resize2d(x, (16, 16), method="cubic"))
    assert refused_resize(call) == "cubic"
