"""Linear programs whose columns may have to be integers, solved by HiGHS."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jointdnn_tvm.native_output import silenced

if TYPE_CHECKING:
    import highspy

ONE = 0
"""The column of every program that is always 1: constants are multiples of it."""

Terms = Mapping[int, float]
"""A sum of multiples of columns."""

_STDOUT = 1  # there HiGHS greets before it can be told not to
_TOLERANCE = 1e-9  # absolute, on rows and on columns that must be integers
_COST_TOLERANCE = 1e-7  # absolute


@dataclass
class Program:
    """Columns with their bounds, and rows: sums that must be at least 0."""

    lower: list[float] = field(default_factory=lambda: [1.0])
    upper: list[float] = field(default_factory=lambda: [1.0])
    integer: list[bool] = field(default_factory=lambda: [False])
    rows: list[Terms] = field(default_factory=list)

    def column(self, lower: float = 0.0, upper: float = 1.0, *, integer: bool = False) -> int:
        """A new column; returns its number."""
        self.lower.append(lower)
        self.upper.append(upper)
        self.integer.append(integer)
        return len(self.lower) - 1

    def at_least_zero(self, terms: Terms) -> None:
        """A new row."""
        self.rows.append(terms)


class Outcome(NamedTuple):
    """The best columns found, and what no others are below; ``ended``: nothing is left to find."""

    columns: list[float] | None
    bound: float
    ended: bool


def minimise(
    program: Program,
    costs: Terms,
    time_limit_s: float,
    start: Mapping[int, float] | None = None,
    *,
    relaxed: bool = False,
) -> Outcome:
    """The columns that make ``costs`` least; with ``relaxed``, they may all be fractions.

    ``start`` gives values of integer columns that are known to be possible. When nothing is, the
    outcome has ended without columns.
    """
    until = time.monotonic() + time_limit_s
    model = _highs_model(program, costs, relaxed=relaxed)
    status, outcome = _run(model, time_limit_s, start)
    if status == "kSolveError":  # what presolve found is over a limit by just its tolerance
        _, outcome = _run(model, until - time.monotonic(), start, presolve="off")
    columns = outcome.columns if start and outcome.ended else None
    if columns is not None and value_of(costs, columns) > outcome.bound + _COST_TOLERANCE:
        # HiGHS 1.16 can answer with the start itself when its presolve made a better one of it.
        _, outcome = _run(model, until - time.monotonic(), None)
    return outcome


def value_of(terms: Terms, columns: Sequence[float]) -> float:
    """A sum of columns, of which these are the values."""
    return sum(value * columns[column] for column, value in terms.items())


def _run(
    model: highspy.HighsLp,
    time_limit_s: float,
    start: Mapping[int, float] | None,
    presolve: str = "choose",
) -> tuple[str, Outcome]:
    """The name of the status, and what it means."""
    import highspy  # takes long, and few problems need it

    with silenced(_STDOUT):
        highs = highspy.Highs()  # type: ignore[no-untyped-call]
    for option, value in _OPTIONS.items():
        highs.setOptionValue(option, value)
    highs.setOptionValue("presolve", presolve)
    highs.setOptionValue("time_limit", max(0.0, time_limit_s))
    highs.passModel(model)
    if start:
        highs.setSolution(len(start), np.array(list(start)), np.array(list(start.values())))
    highs.run()
    info, status = highs.getInfo(), highs.getModelStatus()
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    columns = list(highs.getSolution().col_value) if found else None
    if status == highspy.HighsModelStatus.kOptimal:
        bound = info.mip_dual_bound if len(model.integrality_) else info.objective_function_value
        return status.name, Outcome(columns, bound, ended=True)
    nothing = status == highspy.HighsModelStatus.kInfeasible
    columns = None if nothing else columns
    return status.name, Outcome(columns, info.mip_dual_bound, ended=nothing)


_OPTIONS = {
    "output_flag": False,
    "threads": 1,
    "mip_rel_gap": 0.0,
    "mip_abs_gap": 0.0,
    "mip_feasibility_tolerance": _TOLERANCE,
    "primal_feasibility_tolerance": _TOLERANCE,
    "dual_feasibility_tolerance": _TOLERANCE,
    "small_matrix_value": 1e-12,
}


def _highs_model(program: Program, costs: Terms, *, relaxed: bool) -> highspy.HighsLp:
    import highspy

    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(program.lower), len(program.rows)
    model.col_cost_ = np.array([costs.get(column, 0.0) for column in range(model.num_col_)])
    model.col_lower_ = np.array(program.lower)
    model.col_upper_ = np.array(program.upper)
    model.row_lower_ = np.zeros(len(program.rows))
    model.row_upper_ = np.full(len(program.rows), highspy.kHighsInf)
    entries = [[item for item in terms.items() if item[1]] for terms in program.rows]
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = np.cumsum([0, *map(len, entries)])
    model.a_matrix_.index_ = np.array([column for row in entries for column, _ in row])
    model.a_matrix_.value_ = np.array([value for row in entries for _, value in row])
    integer, free = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
    if any(program.integer) and not relaxed:
        model.integrality_ = [integer if needed else free for needed in program.integer]
    return model
