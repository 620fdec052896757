"""Rows for the most bytes that the mobile holds at once: the definition of `evaluate`.

The mobile holds a tensor from the first to the last of certain steps: those of its readers
there, the step that makes it there, and the last step for an output that it hands out. Whether
such a step is at or before, and at or after, are columns that only grow along the order; where
both are 1, the tensor is held. What is carried is there in all steps: on the mobile it counts among
the weights; and from the cloud it comes when some reader is on the mobile.
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
    fetched: dict[int, float] = {}
    held: list[dict[int, float]] = [{resident: 1.0} for _ in problem.operators]
    for tensor in problem.tensors:
        if tensor.carried and tensor.producer is not None:
            home = on_mobile[tensor.producer]
            readers = [on_mobile[name] for name in tensor.consumers]
            if comes := _comes(program, [reader for reader in readers if reader != home], home):
                fetched[comes] = tensor.size_bytes / unit_bytes
        elif tensor.size_bytes:
            for step, literal in _held(problem, program, on_mobile, tensor):
                for column, value in literal.items():
                    more = value * tensor.size_bytes / unit_bytes
                    held[step][column] = held[step].get(column, 0.0) + more
    _require(program, resident, {**weights, **fetched})
    for terms in held:
        _require(program, peak, terms)
    return peak


def _comes(program: Program, readers: list[Terms], home: Terms) -> int | None:
    """A column that is 1 when a reader is on the mobile, and the home is not."""
    if home == _ALWAYS or not any(readers):
        return None
    column = program.column()
    for reader in readers:
        least = dict(reader)
        for part, value in home.items():
            least[part] = least.get(part, 0.0) - value
        _require(program, column, least)
    return column


def _held(
    problem: Problem, program: Program, on_mobile: Mapping[str, Terms], tensor: Tensor
) -> list[tuple[int, Terms]]:
    """The steps in which the tensor may be held, and what is 1 when it is."""
    points = _points(problem, on_mobile, tensor)
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
    problem: Problem, on_mobile: Mapping[str, Terms], tensor: Tensor
) -> dict[int, list[Terms]]:
    """The steps that can be the first or the last, each with what is 1 when it counts."""
    order, last = problem.positions, len(problem.operators) - 1
    made_here = _ALWAYS if tensor.producer is None else on_mobile[tensor.producer]
    counted = [(order[name], on_mobile[name]) for name in tensor.consumers]
    counted.append((0 if tensor.producer is None else order[tensor.producer], made_here))
    if tensor.output:
        counted.append((last, _ALWAYS if problem.ends_on_mobile else made_here))
    points: dict[int, list[Terms]] = {}
    for step, literal in counted:
        if literal and literal not in points.setdefault(step, []):
            points[step].append(literal)
    return {step: literals for step, literals in points.items() if literals}


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


def _require(program: Program, column: int, least: Terms) -> None:
    """A row that makes a column at least a sum."""
    program.at_least_zero({column: 1.0, **{part: -value for part, value in least.items()}})
