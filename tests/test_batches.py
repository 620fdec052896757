"""The order in which examples are trained on."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.errors import RunError
from jointdnn_tvm.network import TensorSpec
from jointdnn_tvm.training.batches import Batches, draw_order
from jointdnn_tvm.training.examples import Examples


def batches(count: int = 10, size: int = 3, seed: int = 0) -> Batches:
    spec = TensorSpec("x", (size,), "int64")
    return Batches(Examples({"x": np.arange(count)}, (spec,), None), seed)


def taken(found: Batches, steps: range) -> list[list[int]]:
    return [found.of(step)[0]["x"].tolist() for step in steps]


def test_epochs() -> None:
    found = batches()
    assert (found.per_epoch, found.epoch(2), found.epoch(3)) == (3, 0, 1)
    for epoch in range(2):
        parts = taken(found, range(3 * epoch, 3 * epoch + 3))
        assert all(len(part) == 3 for part in parts)
        assert len({place for part in parts for place in part}) == 9


def test_another_order_in_each_epoch_and_for_each_seed() -> None:
    orders = {tuple(draw_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_any_step_without_those_before() -> None:
    expected = taken(batches(), range(12))
    assert taken(batches(), range(7, 12)) == expected[7:]
    assert taken(batches(), range(11, -1, -1)) == expected[::-1]
    assert taken(batches(seed=1), range(12)) != expected


def test_batch_larger_than_the_data() -> None:
    with pytest.raises(RunError, match="a batch of 3 is more than the 2 examples that there are"):
        batches(2)
