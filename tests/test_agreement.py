"""Agreement of answers, by hand; and sets of samples on which it would mean nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.agreement import Judge

Array = np.ndarray[Any, Any]


def scores(*classes: int, lead: float = 1.0) -> list[list[Array]]:
    """A sample for each class, whose score leads."""
    rows = []
    for index in classes:
        row = np.zeros((1, 4), np.float32)
        row[0, index] = lead
        row[0, (index + 1) % 4] = 0.0
        rows.append([row])
    return rows


def masks(*sizes: int) -> list[list[Array]]:
    """Maps in which the first so many columns are likely."""
    return [[np.where(np.arange(10) < n, 0.9, 0.1).reshape(1, 1, 1, 10)] for n in sizes]


def test_the_same_answers() -> None:
    found = Judge(scores(0, 1, 2, 2)).compare(scores(0, 1, 2, 2))
    assert (found.error, found.max_change, found.same_decisions) == (0, 0, 1)
    assert (found.samples, found.decisive, found.answers) == (4, 4, 3)
    assert found.to_json()["error"] == 0


def test_another_class() -> None:
    found = Judge(scores(0, 1, 2, 3)).compare(scores(0, 1, 2, 0))
    assert found.same_decisions == 0.75
    assert found.error == found.max_change == 1


def test_change_is_relative_to_the_largest_of_all_samples() -> None:
    references = [[np.full((1, 1, 3), v, np.float32)] for v in (1.0, 8.0)]
    answers = [[np.full((1, 1, 3), v, np.float32)] for v in (1.4, 8.0)]
    assert Judge(references).compare(answers).max_change == pytest.approx(0.05)


def test_what_does_not_lead_decides_nothing() -> None:
    """The last sample's classes are nearly even: that they change places is no disagreement."""
    close = scores(0, 1, 2) + scores(3, lead=0.04)
    turned = scores(0, 1, 2) + scores(1, lead=0.04)
    found = Judge(close).compare(turned)
    assert (found.decisive, found.same_decisions) == (3, 1)
    assert found.max_change == pytest.approx(0.04)


def test_sequences_agree_step_by_step() -> None:
    first = np.eye(4, dtype=np.float32)[None, [0, 1, 2, 3]]
    other = np.eye(4, dtype=np.float32)[None, [0, 1, 2, 2]]
    assert Judge([[first], [other]]).compare([[first], [first]]).same_decisions == 0.5


def test_masks_by_intersection_over_union() -> None:
    found = Judge(masks(4, 8, 0)).compare(masks(5, 8, 0))
    assert found.decisive == 2
    assert found.same_decisions == pytest.approx((4 / 5 + 1) / 2)


def test_whole_numbers_are_decisions() -> None:
    references = [[np.array([i])] for i in range(4)]
    found = Judge(references).compare([[np.array([i % 3])] for i in range(4)])
    assert (found.max_change, found.same_decisions, found.answers) == (0, 0.75, 4)


def test_least_of_several_outputs() -> None:
    both = [[*a, *b] for a, b in zip(scores(0, 1), masks(4, 4), strict=True)]
    other = [[*a, *b] for a, b in zip(scores(0, 1), masks(4, 2), strict=True)]
    assert Judge(both).compare(other).same_decisions == pytest.approx(0.75)


def test_number_that_is_none_any_more() -> None:
    answers = scores(0, 1)
    answers[1][0][0, 3] = np.nan
    assert Judge(scores(0, 1)).compare(answers).error == np.inf


@pytest.mark.parametrize(
    ("references", "why"),
    [
        (scores(0, 1, 2), "3 samples to confirm with are fewer than 4"),
        (scores(1, 1, 1, 1, 1), r"all of 5 samples give the same answer \(5 of them decisively\)"),
        (scores(1, 1) + scores(2, 3, lead=0.01), r"the same answer \(2 of them decisively\)"),
        ([[np.ones((1, 5), np.float32)]] * 4, "none of 4 samples gives a decisive answer"),
        (masks(0, 0, 0, 0), "none of 4 samples gives a decisive answer"),
        ([[np.full(3, 1 + i / 1e3)] for i in range(4)], "none of 4 samples"),
    ],
)
def test_vacuous(references: list[list[Array]], why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(Judge(references).why_vacuous(budget=0.01))


@pytest.mark.parametrize(
    "references",
    [scores(0, 0, 0, 1), masks(3, 4, 0, 0), [[np.full(3, 1.0 + i)] for i in range(4)]],
)
def test_not_vacuous(references: list[list[Array]]) -> None:
    assert Judge(references).why_vacuous(budget=0.01) is None
