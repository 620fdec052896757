"""Rows for the most bytes that the mobile holds at once: the definition of `evaluate`.

The mobile holds a tensor from the first to the last of certain steps: those of its readers
there, the step that makes it there, and the last step for an output that it hands out. Whether
such a step is at or before, and at or after, are columns that only grow along the order; where
both are 1, the tensor is held. What is carried on the mobile counts among the weights.
"""

from __future__ import annotations

from collections.abc import Mapping

from jointdnn_tvm.placement.integer_program import ONE, Program, Terms
from jointdnn_tvm.placement.problem import Problem, Tensor

_ALWAYS: Terms = {ONE: 1.0}


def peak_column(
    problem: Problem,
    program: Program,
    on_mobile: Mapping[str, Terms],
    weights: Terms,
    unit_bytes: float,
) -> int:
    """A column that is at least weights and tensors held in any step, in units.

    ``on_mobile`` are the literals of the operators, and ``weights`` the sum of their weights.
    """
    peak, resident = (program.column(upper=float("inf")) for _ in range(2))
    _require(program, resident, weights)
    held: list[dict[int, float]] = [{resident: 1.0} for _ in problem.operators]
    for tensor in problem.tensors:
        if tensor.size_bytes:
            for step, literal in _held(problem, program, on_mobile, tensor):
                for column, value in literal.items():
                    more = value * tensor.size_bytes / unit_bytes
                    held[step][column] = held[step].get(column, 0.0) + more
    for terms in held:
        _require(program, peak, terms)
    return peak


def _held(
    problem: Problem, program: Program, on_mobile: Mapping[str, Terms], tensor: Tensor
) -> list[tuple[int, Terms]]:
    """The steps in which the tensor may be held, and what is 1 when it is."""
    points = _points(problem, program, on_mobile, tensor)
    if not points:
        return []
    steps = sorted(points)
    since = _running(program, [points[step] for step in steps])
    until = _running(program, [points[step] for step in reversed(steps)])[::-1]
    held: list[tuple[int, Terms]] = []
    for index, step in enumerate(steps):
        here = points[step]
        if 0 < index < len(steps) - 1:
            here = [*here, *_both(program, since[index - 1], until[index + 1])]
        held.append((step, _any(program, here)))
        if index + 1 < len(steps) and steps[index + 1] > step + 1:
            between = _any(program, _both(program, since[index], until[index + 1]))
            held += [(other, between) for other in range(step + 1, steps[index + 1])]
    return held


def _points(
    problem: Problem, program: Program, on_mobile: Mapping[str, Terms], tensor: Tensor
) -> dict[int, list[Terms]]:
    """The steps that can be the first or the last, each with what is 1 when it counts."""
    order, last = problem.positions, len(problem.operators) - 1
    made_here = _ALWAYS if tensor.producer is None else on_mobile[tensor.producer]
    counted = [(order[name], on_mobile[name]) for name in tensor.consumers]
    if tensor.carried:
        counted = _fetches(program, counted, made_here)
    else:
        counted.append((0 if tensor.producer is None else order[tensor.producer], made_here))
    if tensor.output:
        counted.append((last, _ALWAYS if problem.ends_on_mobile else made_here))
    points: dict[int, list[Terms]] = {}
    for step, literal in counted:
        if literal and literal not in points.setdefault(step, []):
            points[step].append(literal)
    return {step: literals for step, literals in points.items() if literals}


def _fetches(
    program: Program, readers: list[tuple[int, Terms]], at_home: Terms
) -> list[tuple[int, Terms]]:
    """The readers of what is carried, each with what is 1 when it reads there what comes to it."""
    comes = _opposite(at_home)
    fetches = []
    for step, literal in readers:
        if comes and literal and literal != at_home:
            (both,) = _both(program, literal, comes)
            fetches.append((step, both))
    return fetches


def _running(program: Program, groups: list[list[Terms]]) -> list[Terms]:
    """For each group, what is 1 when something in it or before it is."""
    running: list[Terms] = []
    for group in groups:
        running.append(_any(program, [*running[-1:], *group]))
    return running


def _any(program: Program, literals: list[Terms]) -> Terms:
    if _ALWAYS in literals:
        return _ALWAYS
    if len(literals) == 1:
        return literals[0]
    column = program.column()
    for literal in literals:
        _require(program, column, literal)
    return {column: 1.0}


def _both(program: Program, one: Terms, other: Terms) -> list[Terms]:
    if _ALWAYS in (one, other):
        return [other if one == _ALWAYS else one]
    if one == other:
        return [one]
    column = program.column()
    total = {ONE: -1.0}
    for terms in (one, other):
        for part, value in terms.items():
            total[part] = total.get(part, 0.0) + value
    _require(program, column, total)
    return [{column: 1.0}]


def _opposite(literal: Terms) -> Terms:
    opposite = {ONE: 1.0}
    for column, value in literal.items():
        opposite[column] = opposite.get(column, 0.0) - value
    return {column: value for column, value in opposite.items() if value}


def _require(program: Program, column: int, least: Terms) -> None:
    """A row that makes a column at least a sum."""
    program.at_least_zero({column: 1.0, **{part: -value for part, value in least.items()}})
