"""Learning rates over time, against values worked out by hand."""

from __future__ import annotations

import pytest

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.training.schedules import Schedule


def rates(schedule: Schedule) -> list[float]:
    return [schedule(step) for step in range(schedule.steps)]


def test_shapes() -> None:
    assert rates(Schedule(0.5, 3)) == [0.5, 0.5, 0.5]
    assert rates(Schedule(1, 4, "linear")) == pytest.approx([1, 0.75, 0.5, 0.25])
    half = 0.5**0.5 / 2
    assert rates(Schedule(1, 4, "cosine")) == pytest.approx([1, 0.5 + half, 0.5, 0.5 - half])


def test_warmup() -> None:
    found = rates(Schedule(2, 6, "linear", warmup=2))
    assert found == pytest.approx([1, 2, 2, 1.5, 1, 0.5])
    assert rates(Schedule(3, 3, "cosine", warmup=3)) == pytest.approx([1, 2, 3])


def test_what_there_is_not() -> None:
    with pytest.raises(ModelError, match="no schedule is named 'steep'; there are constant, lin"):
        Schedule(1, 4, "steep")
    with pytest.raises(ModelError, match="a warm-up of 5 steps is no part of 4"):
        Schedule(1, 4, warmup=5)
