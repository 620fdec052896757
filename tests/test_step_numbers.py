"""The scalars of a step."""

from __future__ import annotations

from fractions import Fraction

import pytest

from jointdnn_tvm.runtime.step_numbers import StepNumbers


def test_without_means_there_is_the_learning_rate_alone() -> None:
    assert StepNumbers()(0.25, 7) == {"learning_rate": 0.25}


@pytest.mark.parametrize("step", [1, 2, 10, 1000])
def test_means_are_corrected_as_if_exactly(step: int) -> None:
    first, second = Fraction(0.9), Fraction(0.999)
    found = StepNumbers((0.9, 0.999))(0.25, step)
    assert found["learning_rate"] == 0.25
    assert found["step_size"] == pytest.approx(float(Fraction(0.25) / (1 - first**step)), 1e-12)
    square = float(1 - second**step)
    assert found["square_correction"] == pytest.approx(square**-0.5, 1e-12)
