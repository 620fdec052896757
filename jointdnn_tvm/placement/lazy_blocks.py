"""Block costs measured only where a plan rests on them, for chains with too many blocks.

A run that was not measured is taken for ``lower`` times the sum of its operators' latencies. If no
run takes less than that, such a plan costs no more than the true optimum; so once all of its runs
are measured it is optimal, as the plan of all blocks would be. If some run takes less, the plan is
only optimal among those that such runs are not part of. The same holds for its limits: no plan is
found infeasible that the true costs allow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.problem import SIDES, Block, Problem, Side
from jointdnn_tvm.placement.solve import Answer, solve


class Run(NamedTuple):
    """Operators first..last on a side, as one program."""

    side: Side
    first: str
    last: str


@dataclass(frozen=True)
class LazyAnswer:
    """The answer, its problem with the blocks that were measured, and how many these were.

    ``answer`` is optimal if every other run takes at least ``lower`` times its operators' sum.
    """

    answer: Answer
    problem: Problem
    measured: int
    rounds: int
    lower: float

    def __str__(self) -> str:
        return (
            f"{self.answer.status} with {self.measured} runs measured in {self.rounds} rounds, "
            f"if no other run takes less than {self.lower:g} of its operators' sum"
        )


def solve_lazily(
    problem: Problem,
    measure: Callable[[Sequence[Run]], Sequence[float]],
    *,
    lower: float = 1.0,
    time_limit_s: float = 60.0,
) -> LazyAnswer:
    """Solve a chain, measuring each run that a plan uses and that has no block yet.

    ``measure`` returns each run's seconds; no run is asked for twice. Ends, as there are finitely
    many runs. ``time_limit_s`` is for each round. Raises `ProblemError` and `InfeasibleError` as
    `solve` does, and when ``lower`` is not from 0 to 1.
    """
    if not 0 <= lower <= 1:
        raise ProblemError(f"lower is {lower}: use a number from 0 to 1")
    if not problem.is_chain:
        raise ProblemError("only chains have blocks: collapse the branches first")
    known = {Run(b.side, b.first, b.last): b.latency_s for b in problem.blocks}
    guessed = _guesses(problem, lower)
    asked = rounds = 0
    while True:
        seconds = guessed | known
        blocks = tuple(Block(*run, latency_s) for run, latency_s in seconds.items())
        answer = solve(replace(problem, blocks=blocks), time_limit_s)
        missing = [run for run in _runs(problem, answer) if run not in known]
        if not missing:
            measured = tuple(Block(*run, latency_s) for run, latency_s in known.items())
            return LazyAnswer(answer, replace(problem, blocks=measured), asked, rounds, lower)
        known |= dict(zip(missing, measure(missing), strict=True))
        asked += len(missing)
        rounds += 1


def _guesses(problem: Problem, lower: float) -> dict[Run, float]:
    """The least that each run can take under the assumption."""
    guesses: dict[Run, float] = {}
    operators = problem.operators
    for side in SIDES:
        for start, first in enumerate(operators):
            total_s = 0.0
            for last in operators[start:]:
                cost = last.cost(side)
                if cost is None:
                    break
                total_s += cost.latency_s
                guesses[Run(side, first.name, last.name)] = lower * total_s
    return guesses


def _runs(problem: Problem, answer: Answer) -> list[Run]:
    """The maximal runs of a plan."""
    runs = []
    for side, group in groupby(problem.operators, key=lambda o: answer.placement[o.name]):
        operators = list(group)
        runs.append(Run(side, operators[0].name, operators[-1].name))
    return runs
