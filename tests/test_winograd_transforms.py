"""Matrices of Winograd's transforms against the convolutions that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.passes.kernels.winograd_transforms import TRANSFORMS, Transforms, toom_cook


@pytest.mark.parametrize(
    ("transforms", "outputs"),
    [
        *((t, m) for m, t in TRANSFORMS.items()),
        (toom_cook((0, 1, -1, 2, -2)), 4),
        (toom_cook((0, 1, -1, 0.5, -0.5, 2, -2)), 6),
    ],
)
def test_transforms_give_the_convolution(transforms: Transforms, outputs: int) -> None:
    inputs, weights, back = (
        np.array(m) for m in (transforms.inputs, transforms.weights, transforms.outputs)
    )
    edge = outputs + 2
    assert (inputs.shape, weights.shape, back.shape) == (
        (edge, edge),
        (edge, 3),
        (outputs, edge),
    )
    for i in range(edge):  # both are linear: units tell all
        for j in range(3):
            x, w = np.eye(edge)[i], np.eye(3)[j]
            found = back @ ((inputs @ x) * (weights @ w))
            expected = np.correlate(x, w, "valid")
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
