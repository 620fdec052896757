"""Dropout by masks that are inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jointdnn_tvm.runtime.masks import draw_masks
from jointdnn_tvm.training.trainable import load_trainable
from tests.gradient_checks import compiled
from tests.training_models import small_mlp

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)


def test_kept_elements_grow(tmp_path: Path) -> None:
    network = load_trainable(small_mlp(tmp_path), dropout=True)
    (mask,) = network.masks
    assert (mask.shape, mask.ratio) == ((4, 8), 0.25)
    drawn = draw_masks(network.masks, 0, 1)[mask.name]
    assert 0 < drawn.sum() < drawn.size
    scores, hidden = compiled(network.module)(X, drawn, *network.weights.values())
    weights = {t.source: t.form.undo(network.weights[t.name]) for t in network.trained}
    expected = hidden * drawn / 0.75 @ weights["second.w"].T + weights["second.b"]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_without_dropout_nothing_is_dropped(tmp_path: Path) -> None:
    network = load_trainable(small_mlp(tmp_path))
    assert network.masks == ()
    scores, hidden = compiled(network.module)(X, *network.weights.values())
    weights = {t.source: t.form.undo(network.weights[t.name]) for t in network.trained}
    expected = hidden @ weights["second.w"].T + weights["second.b"]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
