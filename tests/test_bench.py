"""The summary of repeats; `test_measure` times on a real device."""

from __future__ import annotations

from jointdnn_tvm.cost.bench import summarise
from jointdnn_tvm.cost.database import Measurement


def test_summary_is_the_median_and_the_middle_half() -> None:
    summary = summarise([1.0, 2.0, 3.0, 4.0, 100.0], "s")
    assert summary == Measurement(3.0, 2.0, 5, None, "s")
    assert summarise([2.0], "s") == Measurement(2.0, 0.0, 1, None, "s")
    assert "clock" in str(summarise([0.0, 1.0], "s").reason)


def test_summary_has_the_interval_of_the_median() -> None:
    assert summarise([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "s").interval_s == 2.5
    assert summarise([1.0] * 6, "s").steady
