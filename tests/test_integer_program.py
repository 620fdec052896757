"""Small programs with known answers, and what is printed meanwhile: nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jointdnn_tvm.placement.integer_program import ONE, Program, minimise


def _knapsack(room: float) -> tuple[Program, dict[int, float]]:
    """Columns worth 5, 4, 3 that take 3, 2, 2."""
    program = Program()
    columns = [program.column(integer=True) for _ in range(3)]
    taken = dict(zip(columns, (-3.0, -2.0, -2.0), strict=True))
    program.at_least_zero({ONE: room, **taken})
    return program, dict(zip(columns, (-5.0, -4.0, -3.0), strict=True))


def test_the_best_integers_are_found() -> None:
    program, costs = _knapsack(4.0)
    outcome = minimise(program, {ONE: 100.0, **costs}, 10.0)
    assert outcome.ended
    assert outcome.columns == pytest.approx([1, 0, 1, 1])
    assert outcome.bound == pytest.approx(93.0)


def test_a_start_does_not_change_the_best() -> None:
    program, costs = _knapsack(4.0)
    outcome = minimise(program, costs, 10.0, start={1: 1.0, 2: 0.0, 3: 0.0})
    assert outcome.columns == pytest.approx([1, 0, 1, 1])


def test_columns_that_may_be_fractions() -> None:
    program, costs = _knapsack(4.0)
    program.integer = [False] * 4
    outcome = minimise(program, costs, 10.0)
    assert outcome.bound == pytest.approx(-4 - 2 * 5 / 3)


def test_nothing_is_possible() -> None:
    program, costs = _knapsack(-1.0)
    outcome = minimise(program, costs, 10.0)
    assert outcome.ended
    assert outcome.columns is None


def test_no_time() -> None:
    program, costs = _knapsack(4.0)
    assert not minimise(program, costs, 0.0).ended


def test_nothing_is_printed() -> None:
    code = (
        "from jointdnn_tvm.placement.integer_program import Program, minimise\n"
        "print(minimise(Program(), {}, 1.0).ended)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")
