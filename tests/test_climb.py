"""Search by steps, on functions whose least value is known."""

from __future__ import annotations

import math
from collections.abc import Callable

from jointdnn_tvm.passes.kernels.choice import Choice
from jointdnn_tvm.tuning.climb import Climb


def beside(choice: Choice) -> list[Choice]:
    return [{"x": choice["x"] + step} for step in (-1, 1)]


def finish(climb: Climb, share: Callable[[int], float]) -> list[int]:
    tried = []
    while choices := climb.ask():
        for choice in choices:
            tried.append(choice["x"])
            climb.tell(choice, share(choice["x"]))
    return tried


def test_it_goes_down_to_the_bottom_and_tries_nothing_twice() -> None:
    climb = Climb([{"x": 0}, {"x": 20}], beside)
    tried = finish(climb, lambda x: 0.5 + abs(x - 14) / 20)
    assert climb.best == ({"x": 14}, 0.5)
    assert sorted(tried) == [0, *range(13, 22)]
    assert climb.tried == len(tried)


def test_a_step_that_gains_too_little_is_none() -> None:
    climb = Climb([{"x": 0}], beside)
    assert finish(climb, lambda x: 1 - 0.001 * x) == [0, -1, 1]


def test_what_fails_is_left() -> None:
    climb = Climb([{"x": 0}, {"x": 1}], beside)
    finish(climb, lambda x: math.inf if x > 0 else 1.0)
    assert climb.best == ({"x": 0}, 1.0)


def test_what_is_told_before_is_not_asked() -> None:
    climb = Climb([{"x": 0}, {"x": 1}], beside)
    climb.tell({"x": 0}, 1.0)
    assert climb.ask() == [{"x": 1}]


def test_all_of_a_batch_is_awaited() -> None:
    climb = Climb([{"x": 0}, {"x": 1}], beside)
    climb.ask()
    climb.tell({"x": 0}, 0.5)
    assert climb.ask() == [{"x": 1}]
