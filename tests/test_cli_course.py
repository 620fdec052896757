"""What is said of training while it goes on."""

from __future__ import annotations

import pytest

from jointdnn_tvm.cli.course import Course
from jointdnn_tvm.training.epochs import StepTaken


def test_validation(capsys: pytest.CaptureFixture[str]) -> None:
    found = iter([{"loss": 0.51234, "accuracy": 0.75}, {"loss": 0.25, "accuracy": 1.0}])
    course = Course(4, 2, 2, lambda *what: None, lambda: next(found))
    for number in range(1, 5):
        course.took(StepTaken(number, 1 + (number > 2), 1.0, 0.1, 0))
    rows = course.result()["epochs"]
    assert [row["validation"]["accuracy"] for row in rows] == [0.75, 1.0]
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith("0 B a step over a link; validation: loss 0.5123, accuracy 0.75")


def test_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[str, int, int]] = []
    course = Course(5, 2, 3, lambda *what: told.append(what))
    for number, (loss, seconds) in enumerate([(3, 0.1), (2, 9.0), (1, 0.3), (6, 1.0), (8, 3.0)], 1):
        course.took(StepTaken(number, 1 + (number > 3), loss, seconds, 100 * number))
    assert told == [("training", number, 5) for number in range(1, 6)]
    rows = course.result()["epochs"]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [row["loss"] for row in rows] == pytest.approx([2, 7])
    assert [row["step_s"] for row in rows] == pytest.approx([0.3, 2.0])
    assert course.result()["loss"] == 7
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "epoch 1 of 2: loss 2, 300 ms a step, 200 B a step over a link"
    assert said[1] == "epoch 2 of 2: loss 7, 2 s a step, 450 B a step over a link"
