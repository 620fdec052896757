"""The interval of the median."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointdnn_tvm.cost.confidence import (
    CONFIDENCE,
    FEWEST,
    half_interval,
    is_steady,
    median_interval,
    until_steady,
)

values = st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=60)


def test_published_ranks() -> None:
    """Tables of the sign test: the ranks between which the median lies at 95 %."""
    ranks = {6: (1, 6), 8: (1, 8), 9: (2, 8), 12: (3, 10), 15: (4, 12), 20: (6, 15)}
    for count, (low, high) in ranks.items():
        assert median_interval(list(range(1, count + 1))) == (low, high)


def test_fewest() -> None:
    assert half_interval([1.0] * (FEWEST - 1)) is None
    assert half_interval([1.0] * FEWEST) == 0


@given(values)
def test_holds_the_median_of_the_values(times: list[float]) -> None:
    interval = median_interval(times)
    if interval is not None:
        assert interval[0] <= statistics.median(times) <= interval[1]
    assert (interval is None) == (len(times) < FEWEST)


@given(values, st.randoms())
def test_order_does_not_count(times: list[float], draw: random.Random) -> None:
    shuffled = draw.sample(times, len(times))
    assert median_interval(shuffled) == median_interval(times)


def test_outliers_do_not_widen_it() -> None:
    calm = [1 + 0.001 * i for i in range(12)]
    assert half_interval([*calm[:-2], 50.0, 90.0]) == half_interval(calm)


@pytest.mark.parametrize("count", [6, 9, 16])
def test_holds_the_true_median_as_often_as_it_says(count: int) -> None:
    draw = random.Random(7)
    rounds, hits = 4000, 0
    for _ in range(rounds):
        interval = median_interval([draw.expovariate(1.0) for _ in range(count)])
        assert interval is not None
        hits += interval[0] <= 0.6931471805599453 <= interval[1]
    assert hits / rounds > CONFIDENCE - 0.012  # three standard errors


def test_repeats_until_it_is_steady() -> None:
    def never() -> float:
        raise AssertionError("it was steady")

    assert until_steady([1.0] * 6, never, 16, 100.0) == [1.0] * 6
    noisy = [1.0, 1.0, 1.0, 1.0, 1.0, 3.0]
    assert not is_steady(noisy)
    found = until_steady(noisy, lambda: 1.0, 16, 100.0)
    assert is_steady(found)
    assert not is_steady(found[:-1])


def test_fewer_are_not_taken_for_steady() -> None:
    moments = iter([1.0] * 4 + [2.0] * 30)
    found = until_steady([1.0] * 6, lambda: next(moments), 40, 100.0, fewest=30)
    assert statistics.median(found) == 2.0
    assert len(found) >= 30


def test_repeats_end_when_it_never_gets_steady() -> None:
    draw = random.Random(3)
    for most, budget, count in ((16, 1e9, 16), (10**6, 100.0, None)):
        found = until_steady([1.0, 3.0] * 3, lambda: draw.choice([1.0, 3.0]), most, budget)
        assert not is_steady(found)
        assert count in (None, len(found))
        assert sum(found) < budget + 3


@given(values)
def test_steady_is_within_two_percent(times: list[float]) -> None:
    interval = median_interval(times)
    wide = interval is None or interval[1] - interval[0] > 0.04 * statistics.median(times)
    assert is_steady(times) == (not wide)
