"""Masks that both sides of a run draw alike."""

from __future__ import annotations

import numpy as np

from jointdnn_tvm.runtime.masks import DropoutMask, draw_masks


def test_masks_depend_on_seed_and_step_only() -> None:
    masks = [DropoutMask("a", (50, 40), 0.3), DropoutMask("b", (50, 40), 0.9)]
    first, again = draw_masks(masks, 1, 1), draw_masks(masks, 1, 1)
    for name in ("a", "b"):
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["a"] != draw_masks(masks, 1, 2)["a"]).any()
    assert (first["a"] != draw_masks(masks, 2, 1)["a"]).any()
    assert abs(first["a"].mean() - 0.7) < 0.05
    assert abs(first["b"].mean() - 0.1) < 0.05
