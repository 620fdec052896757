"""The scalars of a step."""

from __future__ import annotations

from fractions import Fraction

import pytest

from jointdnn_tvm.runtime.step_numbers import StepNumbers


def test_without_means_there_is_the_learning_rate_alone() -> None:
    assert StepNumbers()(0.25, 7) == {"learning_rate": 0.25}


def test_gradients_of_several_steps() -> None:
    """As if so many steps were one, but for what says where in it they are."""
    numbers = StepNumbers((0.9, 0.999), accumulate=3)
    for step in range(1, 10):
        found = numbers(0.25, step)
        assert found.pop("sum_goes_on") == (0 if step in (1, 4, 7) else 1)
        assert found.pop("update_is_due") == (1 if step in (3, 6, 9) else 0)
        assert found == StepNumbers((0.9, 0.999))(0.25, -(-step // 3))


@pytest.mark.parametrize("step", [1, 2, 10, 1000])
def test_means_are_corrected_as_if_exactly(step: int) -> None:
    first, second = Fraction(0.9), Fraction(0.999)
    found = StepNumbers((0.9, 0.999))(0.25, step)
    assert found["learning_rate"] == 0.25
    assert found["step_size"] == pytest.approx(float(Fraction(0.25) / (1 - first**step)), 1e-12)
    square = float(1 - second**step)
    assert found["square_correction"] == pytest.approx(square**-0.5, 1e-12)
