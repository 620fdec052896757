"""How well repeats know their median, whatever they are distributed like."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

CONFIDENCE = 0.95
FEWEST = 6  # values of which all together span the median with that confidence
TOLERANCE = 0.02


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The interval that holds the median with a probability of at least 95 %; None for too few.

    Between the k-th value from below and the k-th from above: the median is outside only when
    fewer than k values fell on one of its sides, each of which they do as a coin falls (David
    and Nagaraja, "Order Statistics", 7.1). Outliers do not widen it until they are many.
    """
    count = len(values)
    outside, chance = 0, 0.0
    while True:
        chance += 2 * math.comb(count, outside) / 2**count
        if chance > 1 - CONFIDENCE:
            break
        outside += 1
    if outside == 0:
        return None
    ordered = sorted(values)
    return ordered[outside - 1], ordered[count - outside]


def half_interval(values: Sequence[float]) -> float | None:
    """Half the width of that interval, in the unit of the values; None for too few."""
    interval = median_interval(values)
    return None if interval is None else (interval[1] - interval[0]) / 2


def is_steady(values: Sequence[float]) -> bool:
    """Whether the median is known within 2 %."""
    half = half_interval(values)
    return half is not None and half <= TOLERANCE * statistics.median(values)


def until_steady(
    values: Sequence[float],
    again: Callable[[], float],
    most: int,
    budget: float,
    fewest: int = FEWEST,
) -> list[float]:
    """Add what `again` gives until it is steady, there are `most`, or they add up to `budget`.

    Fewer than `fewest` do not count as steady: a device that is busy for a moment is, meanwhile.
    """
    found = list(values)
    while len(found) < most and sum(found) < budget:
        if len(found) >= fewest and is_steady(found):
            break
        found.append(again())
    return found
