"""The line fitted to exchanges: against lines that are known, and against every other line."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointdnn_tvm.runtime.exchange_times import (
    ExchangeTimes,
    Sample,
    fit,
    take_samples,
    time_exchanges,
)

SIZES = [1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18]


def synthetic(
    line: ExchangeTimes, seed: int, rounds: int, noise: float, outliers: float
) -> list[Sample]:
    """Exchanges on a machine that is busy now and then: noise both ways, outliers upwards."""
    source = random.Random(seed)
    sizes = [(0, 0), *((s, 0) for s in SIZES), *((0, s) for s in SIZES)]
    samples = []
    for up, down in sizes * rounds:
        seconds = line.seconds(up, down) * source.lognormvariate(0, noise)
        if source.random() < outliers:
            seconds *= source.uniform(2, 20)
        samples.append(Sample(up, down, seconds))
    return samples


rates_bps = st.floats(1e5, 1e9)
costs_s_per_byte = st.floats(1e-9, 1e-6)


@given(
    st.floats(1e-4, 0.2), rates_bps, rates_bps, costs_s_per_byte, costs_s_per_byte, st.integers()
)
def test_finds_the_line_behind_noise(
    fixed_s: float, up_bps: float, down_bps: float, up_c: float, down_c: float, seed: int
) -> None:
    truth = ExchangeTimes(fixed_s, 8 / up_bps + up_c, 8 / down_bps + down_c, 0)
    found = fit(synthetic(truth, seed, rounds=31, noise=0.03, outliers=0.1))
    for up, down in [(0, 0), *((s, 0) for s in SIZES), *((0, s) for s in SIZES)]:
        assert found.seconds(up, down) == pytest.approx(truth.seconds(up, down), rel=0.1)


@given(st.floats(1e-4, 0.2), rates_bps, rates_bps)
def test_without_noise_it_is_exact(fixed_s: float, up_bps: float, down_bps: float) -> None:
    truth = ExchangeTimes(fixed_s, 8 / up_bps, 8 / down_bps, 0)
    found = fit(synthetic(truth, 0, rounds=1, noise=0, outliers=0))
    assert found.fixed_s == pytest.approx(fixed_s)
    assert found.up_s_per_byte == pytest.approx(8 / up_bps)
    assert found.down_s_per_byte == pytest.approx(8 / down_bps)
    assert found.error == pytest.approx(0, abs=1e-9)


@given(st.integers(), st.floats(1e-4, 0.1), st.floats(1e-8, 1e-5))
def test_no_other_slope_is_nearer(seed: int, fixed_s: float, s_per_byte: float) -> None:
    truth = ExchangeTimes(fixed_s, s_per_byte, s_per_byte, 0)
    samples = synthetic(truth, seed, rounds=3, noise=0.5, outliers=0.3)
    found = fit(samples)
    ups = [s for s in samples if s.up_bytes]

    def distance(slope: float) -> float:
        return sum(abs(found.fixed_s + slope * s.up_bytes - s.seconds) for s in ups)

    slopes = [(s.seconds - found.fixed_s) / s.up_bytes for s in ups]
    best = min(distance(max(slope, 1e-12)) for slope in slopes)
    assert distance(found.up_s_per_byte) <= best * (1 + 1e-9)


def test_error_is_the_median_distance() -> None:
    samples = [Sample(0, 0, 1.0), Sample(0, 0, 1.0), Sample(0, 0, 1.0)]
    samples += [Sample(100, 0, 2.0), Sample(0, 100, 3.0), Sample(0, 100, 3.0), Sample(0, 100, 4.0)]
    found = fit(samples)
    assert (found.fixed_s, found.up_s_per_byte, found.down_s_per_byte) == (1.0, 0.01, 0.02)
    assert found.error == 0
    assert (
        fit([Sample(0, 0, 1.0), Sample(0, 0, 2.0), Sample(1, 0, 2.0), Sample(0, 1, 2.0)]).error > 0
    )


class FakeClock:
    """Time that passes only while an exchange is under way; the processor's, while it is asked."""

    def __init__(self, line: ExchangeTimes) -> None:
        self.now = 0.0
        self.computed_s = 0.0
        self.line = line
        self.seen: Counter[tuple[int, int]] = Counter()
        self.computed_before: list[float] = []

    def exchange(self, up_bytes: int, down_bytes: int) -> None:
        self.seen[up_bytes, down_bytes] += 1
        self.now += self.line.seconds(up_bytes, down_bytes)
        self.computed_before.append(self.computed_s)
        self.computed_s = 0.0

    def thread_time(self) -> float:
        self.computed_s += 1e-3
        return self.computed_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock(ExchangeTimes(0.02, 8 / 1e6, 8 / 10e6, 0))
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(time, "thread_time", clock.thread_time)
    return clock


def test_keeps_to_its_budget_on_a_slow_link(clock: FakeClock) -> None:
    found = time_exchanges(clock.exchange, budget_s=4.0)
    assert found.up_s_per_byte == pytest.approx(8 / 1e6)
    assert found.down_s_per_byte == pytest.approx(8 / 10e6)
    assert clock.now < 4.3
    assert max(up for up, _ in clock.seen) == 1 << 14  # 0.15 s; four times as much is too much
    assert max(down for _, down in clock.seen) == 1 << 18
    assert all(clock.seen[sizes] >= 5 for sizes in ((0, 0), (1 << 14, 0), (0, 1 << 18)))


def test_a_link_that_is_slower_than_the_budget_is_timed_all_the_same(clock: FakeClock) -> None:
    clock.line = ExchangeTimes(1.0, 1e-3, 1e-3, 0)
    samples = take_samples(clock.exchange, budget_s=0.5, shortest_s=0.005)
    sizes = [(0, 0), (0, 1024), (1024, 0)]
    assert sorted((s.up_bytes, s.down_bytes) for s in samples) == sorted(sizes)


def test_sizes_end_somewhere_on_a_fast_link(clock: FakeClock) -> None:
    clock.line = ExchangeTimes(1e-4, 1e-10, 1e-10, 0)
    samples = take_samples(clock.exchange, budget_s=2.0, shortest_s=0.005)
    assert max(up for up, _ in clock.seen) == 1 << 20
    assert clock.now < 1  # nine rounds are enough
    assert sum(s.up_bytes == s.down_bytes for s in samples) == 9


def test_short_exchanges_are_repeated_until_they_fill_a_sample(clock: FakeClock) -> None:
    clock.line = ExchangeTimes(0.001, 0, 0, 0)
    take_samples(clock.exchange, budget_s=1.0, shortest_s=0.0995)
    assert (clock.seen[0, 0] - 2) % 100 == 0  # but for those by which sizes are found
    assert clock.seen[0, 0] >= 102


def test_exchanges_fall_into_step_with_nothing(clock: FakeClock) -> None:
    clock.line = ExchangeTimes(0.001, 0, 0, 0)
    take_samples(clock.exchange, budget_s=1.0, shortest_s=0.0995)
    ticks = [round(1e3 * seconds) for seconds in clock.computed_before if seconds]
    assert set(ticks) == set(range(2, 22))  # evenly, up to a fifth of the shortest sample
    assert max(Counter(ticks).values()) < 2 * len(ticks) / 20
