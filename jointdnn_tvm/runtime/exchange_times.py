"""How long an exchange takes, so many bytes there and so many back: a line, fitted to samples.

    seconds = fixed_s + up_bytes * up_s_per_byte + down_bytes * down_s_per_byte

Of plain bytes over a link, the line is the link: its round trip, and 8 over each of its rates. Of
the messages of crossings, it has in it besides what both sides' processors take for them.
"""

from __future__ import annotations

import bisect
import itertools
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

_SMALLEST_BYTES = 1 << 10
_LARGEST_BYTES = 1 << 20  # as what stages hand over; a byte of more takes some more
_GROWTH = 4
_LARGEST_SHARE = 0.1  # of the budget, that a single exchange may take
_SIZES = 3  # the largest ones of each direction; smaller ones tell little of a rate
_ROUNDS = 9
_COMPUTING = 0.2  # of the shortest sample, at most before each exchange
_FASTEST_S_PER_BYTE = 1e-12

Exchange = Callable[[int, int], object]
"""Sends so many bytes, and returns once so many came back."""

Sizes = tuple[int, int]


@dataclass(frozen=True)
class Sample:
    """An exchange that was timed; one of the two sizes is 0, or both are."""

    up_bytes: int
    down_bytes: int
    seconds: float


@dataclass(frozen=True)
class ExchangeTimes:
    """The line; `error` is the median of its samples' relative distances from it."""

    fixed_s: float
    up_s_per_byte: float
    down_s_per_byte: float
    error: float

    def seconds(self, up_bytes: float, down_bytes: float) -> float:
        """What an exchange should take."""
        return self.fixed_s + up_bytes * self.up_s_per_byte + down_bytes * self.down_s_per_byte


def time_exchanges(
    exchange: Exchange, budget_s: float = 2.0, shortest_s: float = 0.005
) -> ExchangeTimes:
    """Time exchanges of several sizes for about `budget_s` or less, and fit the line to them.

    A sample is the mean of as many exchanges as fill `shortest_s`. On a device whose speed is
    emulated that must be several rounds of the rhythm in which it is stopped, and exchanges must
    not fall into step with that: so each comes after computing for a random moment.
    """
    return fit(take_samples(exchange, budget_s, shortest_s))


def take_samples(exchange: Exchange, budget_s: float, shortest_s: float) -> list[Sample]:
    """Find the largest sizes that are worth their time, then time a few sizes in turns.

    What finds them is no sample: a size takes longer the first time, as memory for it is new. One
    sample of each a round, each round in another order, until the time is up; the first round is
    always finished, and nine are enough.
    """
    until = time.monotonic() + budget_s
    source = random.Random(0)

    def once(sizes: Sizes) -> float:
        begin = time.perf_counter()
        exchange(*sizes)
        return time.perf_counter() - begin

    def sample(sizes: Sizes) -> Sample:
        took: list[float] = []
        while sum(took) < shortest_s:
            _compute(source.uniform(0, _COMPUTING * shortest_s))
            took.append(once(sizes))
        return Sample(*sizes, statistics.fmean(took))

    def grow(sizes_of: Callable[[int], Sizes]) -> list[Sizes]:
        """From the smallest, each so much larger than the one before; the largest ones of them."""
        grown: list[Sizes] = []
        size, beyond_s = _SMALLEST_BYTES, 0.0
        while size <= _LARGEST_BYTES and (
            not grown or empty_s + _GROWTH * beyond_s <= _LARGEST_SHARE * budget_s
        ):
            grown.append(sizes_of(size))
            beyond_s = max(once(grown[-1]) - empty_s, 0.0)
            size *= _GROWTH
        return grown[-_SIZES:]

    once((0, 0))
    empty_s = once((0, 0))
    plan = [(0, 0), *grow(lambda size: (size, 0)), *grow(lambda size: (0, size))]
    samples: list[Sample] = []
    for finished in range(_ROUNDS):
        source.shuffle(plan)
        for sizes in plan:
            if finished and time.monotonic() > until:
                return samples
            samples.append(sample(sizes))
    return samples


def _compute(seconds: float) -> None:
    """Keep this thread's processor busy for so long, as a stage does before a crossing."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def fit(samples: Sequence[Sample]) -> ExchangeTimes:
    """The line through the median of the empty exchanges that is nearest to the others.

    Nearest means that the sum of the distances in seconds is least: for each direction the slopes'
    median, each weighted by its bytes. So outliers do not move it while they are few, and where
    exchanges are no line it is right for the large ones, which take the time.
    """
    fixed_s = statistics.median(s.seconds for s in samples if not s.up_bytes + s.down_bytes)
    up = _slope([(s.up_bytes, s.seconds) for s in samples if s.up_bytes], fixed_s)
    down = _slope([(s.down_bytes, s.seconds) for s in samples if s.down_bytes], fixed_s)
    line = ExchangeTimes(fixed_s, up, down, error=0.0)
    distances = (abs(line.seconds(s.up_bytes, s.down_bytes) / s.seconds - 1) for s in samples)
    return replace(line, error=statistics.median(distances))


def _slope(points: Sequence[tuple[int, float]], fixed_s: float) -> float:
    """The weighted median, not below what any link could do."""
    slopes = sorted(((seconds - fixed_s) / size, size) for size, seconds in points)
    up_to = list(itertools.accumulate(size for _, size in slopes))
    middle, _ = slopes[bisect.bisect_left(up_to, up_to[-1] / 2)]
    return max(middle, _FASTEST_S_PER_BYTE)
