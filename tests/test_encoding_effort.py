"""What codecs take for tensors, beside what they take for usual numbers."""

from __future__ import annotations

import time

import numpy as np
import pytest

from jointdnn_tvm import encoding_effort
from jointdnn_tvm.codec import clock
from jointdnn_tvm.cost.codec_times import CodecTime, Seconds
from jointdnn_tvm.encoding_effort import effort_of


class Stopwatch:
    """A clock by which each call that is timed takes what the list says."""

    def __init__(self) -> None:
        self.calls_s: list[float] = []
        self._now_s = 0.0
        self._running = False

    def __call__(self) -> float:
        if self._running:
            self._now_s += self.calls_s.pop(0)
        self._running = not self._running
        return self._now_s


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    watch = Stopwatch()
    monkeypatch.setattr(time, "perf_counter", watch)
    return watch


def test_the_fastest_try_counts(monkeypatch: pytest.MonkeyPatch, stopwatch: Stopwatch) -> None:
    usual = CodecTime(Seconds(1e-3, 1e-6), Seconds(0.0, 1e-6))
    monkeypatch.setattr(encoding_effort, "_usual", lambda name: usual)
    stopwatch.calls_s += [9.0, 9e-3, 9.0, 1.0, 2e-3, 1.0]
    effort = effort_of("f32", np.ones(1000, np.float32))
    assert effort.encode == pytest.approx(2.0)
    assert effort.decode == pytest.approx(0.5)
    assert not stopwatch.calls_s


def test_the_usual_is_a_line_through_two_tensors(stopwatch: Stopwatch) -> None:
    encoding_effort._usual.cache_clear()
    for count in (1 << 13, 1 << 18):
        size_bytes = clock.probe("f32", count).nbytes
        stopwatch.calls_s += [1e-4 + 2e-9 * size_bytes] * 20 + [3e-9 * size_bytes] * 20
    array = np.zeros(1 << 10, np.float32)
    tries = [1e-4 + 8e-9 * array.nbytes] * 3 + [3e-9 * array.nbytes] * 3
    stopwatch.calls_s += tries
    effort = effort_of("f32", array)
    encoding_effort._usual.cache_clear()
    assert effort.encode == pytest.approx(4.0)
    assert effort.decode == pytest.approx(1.0)
