"""Two buffers: what a step makes is the state only once the step is adopted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from jointdnn_tvm.codec.registry import decode_tensor
from jointdnn_tvm.errors import DivergedError, RunError
from jointdnn_tvm.runtime.masks import DropoutMask, draw_masks
from jointdnn_tvm.runtime.step_numbers import StepNumbers
from jointdnn_tvm.runtime.training_entry import Carried, Residual, TrainingEntry
from jointdnn_tvm.runtime.training_half import TrainingHalf
from tests.tiny_models import Array

MASK = DropoutMask("mask", (3,), 0.5)
ENTRY = TrainingEntry(
    loss="loss",
    label=None,
    masks=(MASK,),
    numbers={},
    optimizer=StepNumbers(),
    carried=(
        Carried("a", "a_new", "mobile", None),
        Carried("b", "b_new", "mobile", None),
        Carried("elsewhere", "elsewhere_new", "cloud", None),
    ),
)


class Doubling:
    """Stands for a module: stage `a` makes the next value of a, twice the present one."""

    def run_on_device(self, name: str, tensors: Mapping[str, Array]) -> dict[str, Array]:
        return {f"{name}_new": tensors[name] * 2, "other": tensors["mask"]}

    def hold(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array.copy() for name, array in arrays.items()}


def half() -> TrainingHalf:
    state = {"a": np.ones(2), "b": np.full(2, 3.0)}
    return TrainingHalf(Doubling(), ENTRY, state, steps=4, seed=9)


def values(half: TrainingHalf) -> dict[str, float]:
    return {name: float(array[0]) for name, array in half.state(half.names).items()}


def test_step_is_taken_when_it_is_adopted() -> None:
    own = half()
    own.begin()
    assert own.run("a", {})["a_new"].tolist() == [2, 2]
    own.run("b", {})
    assert (own.steps, values(own)) == (4, {"a": 1, "b": 3})
    own.adopt()
    assert (own.steps, values(own)) == (5, {"a": 2, "b": 6})


def test_masks_are_those_of_the_step() -> None:
    own = half()
    for step in (5, 6):
        own.begin()
        (expected,) = draw_masks([MASK], 9, step).values()
        np.testing.assert_array_equal(own.run("a", {})["other"], expected)
        own.run("b", {})
        own.adopt()


def test_what_is_not_of_this_half_is_left_alone() -> None:
    own = half()
    own.begin()
    own.take({"elsewhere_new": np.zeros(2), "loss": np.zeros(())})
    assert own.names == {"a", "b"}


def test_what_came_in_a_message_is_kept_without_it() -> None:
    own = half()
    own.begin()
    message = np.arange(4.0)
    received = own.receive({"a_new": message[:2], "b_new": message[2:]})
    own.adopt()
    message[:] = 9
    assert values(own) == {"a": 0, "b": 2}
    np.testing.assert_array_equal(received["b_new"], [2, 3])


def test_step_that_began_anew_forgets() -> None:
    own = half()
    own.begin()
    own.run("a", {})
    own.begin()
    own.run("b", {})
    with pytest.raises(RunError, match="a step ended without the next value of 'a'"):
        own.adopt()
    assert (own.steps, values(own)) == (4, {"a": 1, "b": 3})


def _taken() -> TrainingHalf:
    own = half()
    own.begin()
    own.run("a", {})
    own.run("b", {})
    return own


def test_other_side_took_the_step() -> None:
    own = _taken()
    own.settle(5)
    assert (own.steps, values(own)) == (5, {"a": 2, "b": 6})
    own.settle(5)
    assert own.steps == 5


def test_other_side_did_not_take_the_step() -> None:
    own = _taken()
    own.settle(4)
    assert (own.steps, values(own)) == (4, {"a": 1, "b": 3})
    with pytest.raises(RunError, match="without the next value"):
        own.settle(5)


@pytest.mark.parametrize("steps", [0, 3, 6])
def test_halves_that_do_not_fit(steps: int) -> None:
    with pytest.raises(RunError, match=f"is at step 4, the other at step {steps}; open it again"):
        _taken().settle(steps)


def test_next_value_that_is_no_number() -> None:
    own = half()
    own.begin()
    for wrong in (np.nan, np.inf):
        with pytest.raises(DivergedError, match="in step 5 'b' would leave the finite numbers"):
            own.take({"b_new": np.array([1.0, wrong])})


LOSSY = replace(
    ENTRY,
    residuals=(
        Residual("up", "up_residual", "mobile"),
        Residual("down", "down_residual", "cloud"),
    ),
)
ODD = np.array([0.0, 1.0, 255.0, 0.4], np.float32)


def _lossy() -> TrainingHalf:
    state = {"a": np.ones(2), "b": np.full(2, 3.0), "up_residual": np.zeros(4, np.float32)}
    return TrainingHalf(Doubling(), LOSSY, state, steps=4, seed=9)


def _send(half: TrainingHalf, gradient: Array) -> Array:
    half.begin()
    half.run("a", {})
    half.run("b", {})
    sent = half.outgoing({"up": gradient, "down": ODD, "other": ODD}, {"up": "u8", "down": "u8"})
    assert sent["down"] is sent["other"] is ODD
    frame = sent["up"]
    assert isinstance(frame, bytes)
    return decode_tensor(frame)


def test_what_is_left_of_a_gradient_goes_with_the_next_one() -> None:
    own = _lossy()
    assert _send(own, ODD).tolist() == [0, 1, 255, 0]
    own.adopt()
    assert own.state(["up_residual"])["up_residual"].tolist() == pytest.approx([0, 0, 0, 0.4])
    assert _send(own, ODD).tolist() == [0, 1, 255, 1]


def test_what_is_left_in_a_step_that_is_not_taken_is_dropped() -> None:
    own = _lossy()
    _send(own, ODD)
    own.settle(4)
    assert not own.state(["up_residual"])["up_residual"].any()
    _send(own, ODD)
    own.settle(5)
    assert own.state(["up_residual"])["up_residual"].any()


def test_what_is_left_stays_where_nothing_is_sent() -> None:
    own = _lossy()
    _send(own, ODD)
    own.adopt()
    before = own.state(["up_residual"])["up_residual"]
    own.begin()
    own.run("a", {})
    own.run("b", {})
    own.adopt()
    assert own.state(["up_residual"])["up_residual"] is before


def test_gradient_that_is_no_number() -> None:
    with pytest.raises(DivergedError, match="in step 5 'up_residual' would leave the finite numb"):
        _send(_lossy(), np.array([1.0, np.inf, 0, 0], np.float32))


def test_half_without_stages() -> None:
    empty = TrainingHalf(None, ENTRY, {}, 0, 0)
    with pytest.raises(RunError, match="there is no stage 'a' here"):
        empty.run("a", {})
    empty.begin()
    empty.adopt()
    assert empty.steps == 1
