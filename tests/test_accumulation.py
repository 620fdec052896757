"""Accumulated gradients against one step over all of the examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm.training.host_trainer import HostTrainer
from jointdnn_tvm.training.losses import CrossEntropy
from jointdnn_tvm.training.optimizers import OPTIMIZERS
from jointdnn_tvm.training.step import training_step
from jointdnn_tvm.training.trainable import load_trainable
from tests.training_models import open_mlp

COUNT, BATCH, UPDATES = 3, 4, 4


def _trainer(folder: Path, optimizer: str, batch: int, accumulate: int) -> HostTrainer:
    network = load_trainable(open_mlp(folder), batch=batch)
    rule = OPTIMIZERS[optimizer]()
    step = training_step(network, CrossEntropy(), rule, clip_norm=0.05, accumulate=accumulate)
    return HostTrainer(step)


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_like_one_step_over_all(optimizer: str, tmp_path: Path) -> None:
    """The clipping too is of the mean gradient."""
    rng = np.random.default_rng(0)
    together = _trainer(tmp_path, optimizer, COUNT * BATCH, 1)
    apart = _trainer(tmp_path, optimizer, BATCH, COUNT)
    for _ in range(UPDATES):
        x = rng.standard_normal((COUNT * BATCH, 6)).astype(np.float32)
        y = rng.integers(0, 3, COUNT * BATCH)
        before = apart.weights()
        losses = []
        for part in range(COUNT):
            for name, array in apart.weights().items():
                np.testing.assert_array_equal(array, before[name])
            some = slice(part * BATCH, (part + 1) * BATCH)
            losses.append(apart.step({"x": x[some]}, y[some], learning_rate=0.05))
        whole = together.step({"x": x}, y, learning_rate=0.05)
        np.testing.assert_allclose(np.mean(losses), whole, rtol=1e-5)
        for name, array in together.weights().items():
            np.testing.assert_allclose(apart.weights()[name], array, rtol=1e-4, atol=1e-6)
            assert not np.array_equal(array, before[name])
