"""Right answers, counted by hand."""

from __future__ import annotations

import numpy as np

from jointdnn_tvm.runtime.accuracy import right_answers

SCORES = np.array([[3, 1, 2], [0, -1, -2], [5, 4, 6], [1, 9, 8]], np.float32)


def test_ids() -> None:
    assert right_answers(SCORES, np.array([0, 1, 2, 1]), 1).tolist() == [True, False, True, True]


def test_shares() -> None:
    shares = np.array([[0.4, 0.3, 0.3], [0.2, 0.5, 0.3], [0, 0, 1], [0, 1, 0]], np.float32)
    assert right_answers(SCORES, shares, 1).tolist() == [True, False, True, True]


def test_classes_along_another_dimension() -> None:
    scores = SCORES.T[None]  # one example, three classes, four places
    found = right_answers(scores, np.array([[0, 1, 2, 1]]), 1)
    assert found.tolist() == [[True, False, True, True]]
