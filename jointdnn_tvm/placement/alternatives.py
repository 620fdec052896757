"""What other placements would cost beside an answer, or why they cannot be taken."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from jointdnn_tvm.placement.baselines import BASELINES, all_baselines
from jointdnn_tvm.placement.evaluate import evaluate
from jointdnn_tvm.placement.fixed_codecs import best_codecs
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, Limits, Operator, Problem, Side
from jointdnn_tvm.placement.solution import broken_limits
from jointdnn_tvm.placement.solve import Answer, fixed_placement


@dataclass(frozen=True)
class Alternative:
    """Another placement beside an answer.

    ``objective`` (s or J), ``change`` of it from the answer's, ``ratio`` to the answer's (None
    where that is 0), ``latency_s`` and ``energy_j`` are None where it cannot run. ``why_not`` says
    why it cannot be taken: it cannot run, or breaks a limit; None where it can.
    """

    objective: float | None = None
    change: float | None = None
    ratio: float | None = None
    latency_s: float | None = None
    energy_j: float | None = None
    why_not: str | None = None


@dataclass(frozen=True)
class Move:
    """The answer with these operators moved to the other side."""

    moved: tuple[str, ...]
    to: Side
    result: Alternative


def moves(problem: Problem, answer: Answer) -> tuple[Move, ...]:
    """Each operator moved by itself, then each run of several operators as a whole.

    What crosses then has the codecs that are best for the new placement.
    """
    singles: list[tuple[Operator, ...]] = [(operator,) for operator in problem.operators]
    grouped = itertools.groupby(problem.operators, key=lambda o: answer.placement[o.name])
    runs = [tuple(run) for _, run in grouped]
    wholes = [run for run in runs if len(run) > 1]
    return tuple(_move(problem, answer, operators) for operators in singles + wholes)


def baselines(problem: Problem, answer: Answer) -> dict[str, Alternative]:
    """Each baseline by its name; one that breaks a limit as it would be without limits."""
    possible = all_baselines(problem)
    unlimited = all_baselines(replace(problem, limits=Limits())) if problem.limits.active else {}
    found = {}
    for name in BASELINES:
        if name in possible:
            found[name] = _judged(problem, answer, possible[name])
        elif name in unlimited:
            found[name] = _judged(problem, answer, unlimited[name])
        else:
            found[name] = Alternative(why_not=_why_impossible(problem, name))
    return found


def _move(problem: Problem, answer: Answer, operators: tuple[Operator, ...]) -> Move:
    names = tuple(operator.name for operator in operators)
    to = CLOUD if answer.placement[names[0]] == MOBILE else MOBILE
    stuck = next((o.name for o in operators if o.cost(to) is None), None)
    if stuck is not None:
        return Move(names, to, Alternative(why_not=f"{stuck!r} cannot run on the {to} side"))
    placement = {**answer.placement, **dict.fromkeys(names, to)}
    moved = fixed_placement(problem, placement, best_codecs(problem, placement))
    return Move(names, to, _judged(problem, answer, moved))


def _judged(problem: Problem, answer: Answer, other: Answer) -> Alternative:
    broken = broken_limits(problem.limits, evaluate(problem, other.placement, other.codecs))
    return Alternative(
        objective=other.objective,
        change=other.objective - answer.objective,
        ratio=other.objective / answer.objective if answer.objective else None,
        latency_s=other.latency_s,
        energy_j=other.energy_j,
        why_not=f"breaks {', '.join(broken)}" if broken else None,
    )


def _why_impossible(problem: Problem, name: str) -> str:
    """Which operators keep a baseline from running at all."""
    stuck = {side: [o.name for o in problem.operators if o.cost(side) is None]
             for side in (MOBILE, CLOUD)}  # fmt: skip
    if name == "mobile-only":
        return f"{stuck[MOBILE][0]!r} cannot run on the mobile side"
    if name == "cloud-only":
        return f"{stuck[CLOUD][0]!r} cannot run on the cloud side"
    first, later = next(
        (first, later)
        for first in stuck[MOBILE]
        for after in (_readers(problem, first) if name == "dads" else _later(problem, first),)
        for later in stuck[CLOUD]
        if later in after
    )
    return f"{first!r} runs on the cloud only and {later!r} after it on the mobile only"


def _later(problem: Problem, name: str) -> set[str]:
    """The operators that stand later in the order."""
    return {o.name for o in problem.operators[problem.positions[name] + 1 :]}


def _readers(problem: Problem, name: str) -> set[str]:
    """The operators that need what an operator makes, in this run or in the next."""
    found = {name}
    waiting = [name]
    for producer in waiting:
        read = {c for t in problem.tensors if t.producer == producer for c in t.consumers} - found
        found |= read
        waiting += read
    return found
