"""The optimal placement of a chain whose runs may have costs of their own.

This is the shortest path of JointDNN (Eshratifar et al., 2018) over its nodes M(i:j) and C(i:j),
as a recurrence over what precedes a run: n operators take O(n^2) steps. With limits, and for
throughput, a prefix has not one best cost but several that none of the others beats in every
measure that matters (labels); without, exactly one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from math import sqrt
from operator import add, le
from typing import NamedTuple, TypeVar

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.chain_costs import ChainCosts, Choice, Vector, decimal
from jointdnn_tvm.placement.measures import BUSY, MADE_OF
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, SIDES, Limits, Problem, Side
from jointdnn_tvm.placement.solution import LIMIT_SLACK, Clash, InfeasibleError, Solution

_NEEDS = MADE_OF | {"max_latency_s": ("latency", "variance")}
_PEAK = "max_mobile_peak_bytes"
_Item = TypeVar("_Item")


def solve_chain(problem: Problem, time_limit_s: float = 60.0) -> Solution:
    """A placement that is optimal within the limits, with the fewest switches among equal ones.

    Raises `InfeasibleError` when no placement meets the limits, and `ProblemError` when the
    operators are no chain or the time is up, which only limits and throughput can need.
    """
    if not problem.is_chain:
        raise ProblemError("the operators are not a chain: solve the problem without blocks")
    until = time.monotonic() + time_limit_s
    found = _least(problem, problem.objective, until)
    if found is None:
        raise InfeasibleError(_clashes(problem, until))
    least, label = found
    placement, codecs = _traced(problem, label)
    return Solution(placement, codecs, bound=float(least), proved=True, solver="chain")


class _Label(NamedTuple):
    """A prefix of the chain: its measures, and the bytes held (kept, at the end, most so far)."""

    measures: Vector
    held: tuple[int, int, int]
    before: _Label | None = None
    run: tuple[Side, int] | None = None
    codecs: tuple[dict[str, str], ...] = ()

    @property
    def key(self) -> Vector:
        """What another label must not be below in everything."""
        return self.measures + self.held


def _clashes(problem: Problem, until: float) -> list[Clash]:
    """Limits that clash, while all but any one of them can be met."""
    clashing = dict(problem.limits.active)
    for name in problem.limits.active:
        rest = {other: value for other, value in clashing.items() if other != name}
        if _least(_limited(problem, rest), "latency", until) is None:
            clashing = rest
    clashes = []
    for name, value in clashing.items():
        rest = {other: limit for other, limit in clashing.items() if other != name}
        found = _least(_limited(problem, rest), name, until)
        assert found is not None, "each of the clashing limits is needed for the clash"
        clashes.append(Clash(name, value, float(found[0])))
    return clashes


def _limited(problem: Problem, limits: dict[str, float]) -> Problem:
    sigmas = problem.limits.latency_sigmas
    return replace(problem, limits=Limits(**limits, latency_sigmas=sigmas))


def _least(problem: Problem, target: str, until: float) -> tuple[Fraction | float, _Label] | None:
    """The least of an objective or of what a limit bounds, and how; None: the limits clash."""
    search = _Search(problem, target, until)
    value = search.reader(target)
    return min(
        ((value(label), label) for label in search.whole()),
        key=lambda found: (found[0], search.switches(found[1])),
        default=None,
    )


class _Search:
    """Label setting for one target within the limits."""

    def __init__(self, problem: Problem, target: str, until: float) -> None:
        self._problem, self._until = problem, until
        uses = (target, *problem.limits.active)
        needs = {name for use in uses for name in _NEEDS[use]}
        if not problem.limits.latency_sigmas:
            needs.discard("variance")
        self._costs = ChainCosts(problem, {*needs, "switches"})
        self._peak = _PEAK in uses
        self._index = {name: index for index, name in enumerate(self._costs.names)}
        # One additive measure to minimise: ties fold into it, and one label is left a state.
        self._folds = {target} == set(uses) and needs == {target}
        self._tests = [
            (self.reader(name), decimal(value) * (1 + decimal(LIMIT_SLACK)))
            for name, value in problem.limits.active.items()
        ]

    def switches(self, label: _Label) -> int:
        """How many switches a label has."""
        return label.measures[self._index["switches"]]

    def reader(self, target: str) -> Callable[[_Label], Fraction | float]:
        """What a label takes of an objective or of what a limit bounds."""
        index, scale = self._index, self._costs.scale

        def read(name: str, label: _Label) -> Fraction:
            return Fraction(label.measures[index[name]], scale[name])

        if target == "throughput":
            return lambda label: max(read(name, label) for name in BUSY)
        if target == _PEAK:
            bytes_ = self._costs.byte_scale
            return lambda label: read("weights", label) + Fraction(label.held[2], bytes_)
        if target == "max_latency_s" and "variance" in index:
            sigmas = self._problem.limits.latency_sigmas
            return lambda label: (
                float(read("latency", label)) + sigmas * sqrt(read("variance", label))
            )
        (name, *_) = _NEEDS[target]
        return lambda label: read(name, label)

    def whole(self) -> list[_Label]:
        """The labels of all of the chain that no other beats."""
        count = self._costs.count
        ready: dict[tuple[int, Side], list[_Label]] = {}
        start = _Label(self._costs.zero, (0, 0, 0))
        ready[0, MOBILE] = ready[0, CLOUD] = [start]
        ended: list[_Label] = []
        for first in range(count):
            for side in SIDES:
                labels = self._best(ready.pop((first, side), []))
                if first or side == CLOUD:
                    switch = first > 0 or self._problem.starts_on_mobile
                    labels = self._best(self._crossed(labels, side, first, switch=switch))
                for last, after in self._runs(labels, side, first):
                    if last + 1 == count:
                        ended += after
                    else:
                        other = CLOUD if side == MOBILE else MOBILE
                        ready.setdefault((last + 1, other), []).extend(after)
        return self._best(ended)

    def _runs(
        self, labels: list[_Label], side: Side, first: int
    ) -> Iterator[tuple[int, list[_Label]]]:
        """Each run from an operator on, by its last, and the labels with it."""
        costs, count = self._costs, self._costs.count
        extras: list[Choice] = [(costs.zero, {})]
        kept = at_end = most = 0
        for last in range(first, count):
            if not labels or self._problem.operators[last].cost(side) is None:
                return
            for choices in costs.leaving(side, last):
                extras = self._best_choices(extras, choices)
            level = 0
            if self._peak:
                more, step, ends = costs.held(side, last, last == first)
                kept, at_end = kept + more, at_end + ends
                level = kept + step
                most = max(most, level)
            run = costs.run(side, first, last)
            if last + 1 == count and side == CLOUD and self._problem.ends_on_mobile:
                run = _sum(run, costs.switch)
            after = []
            for extra, codecs in extras:
                adds = _sum(run, extra)
                for label in labels:
                    before_kept, before_end, before_most = label.held
                    end = before_end + at_end
                    held = max(before_most, before_kept + most)
                    if last + 1 == count:
                        held = max(held, before_kept + level + end)
                    new = _Label(
                        _sum(label.measures, adds), (before_kept + kept, end, held),
                        label, (side, last), (codecs,),
                    )  # fmt: skip
                    if self._fits(new):
                        after.append(new)
            self._check_time()
            yield last, after

    def _crossed(
        self, labels: list[_Label], side: Side, position: int, *, switch: bool
    ) -> Iterator[_Label]:
        """The labels once a run on that side can start."""
        costs = self._costs
        extras: list[Choice] = [(costs.switch if switch else costs.zero, {})]
        for choices in costs.entering(side, position):
            extras = self._best_choices(extras, choices)
        for extra, codecs in extras:
            for label in labels:
                new = label._replace(
                    measures=_sum(label.measures, extra),
                    codecs=(*label.codecs, codecs),
                )
                if self._fits(new):
                    yield new

    def _fits(self, label: _Label) -> bool:
        """Whether a prefix is within the limits; what follows only adds to each measure."""
        return all(read(label) <= limit for read, limit in self._tests)

    def _best(self, labels: Iterable[_Label]) -> list[_Label]:
        if self._folds:
            return sorted(labels, key=lambda label: label.measures)[:1]
        return [label for _, label in self._unbeaten((label.key, label) for label in labels)]

    def _best_choices(self, ones: list[Choice], others: list[Choice]) -> list[Choice]:
        """The combinations of two choices that no other combination beats."""
        both = [(_sum(one, other), codecs | more) for one, codecs in ones for other, more in others]
        if self._folds:
            return sorted(both, key=lambda choice: choice[0])[:1]
        return self._unbeaten(both)

    def _unbeaten(self, items: Iterable[tuple[Vector, _Item]]) -> list[tuple[Vector, _Item]]:
        kept: list[tuple[Vector, _Item]] = []
        for number, (key, item) in enumerate(sorted(items, key=lambda pair: pair[0])):
            if not number % 1000:
                self._check_time()
            if not any(all(map(le, other, key)) for other, _ in kept):
                kept.append((key, item))
        return kept

    def _check_time(self) -> None:
        if time.monotonic() > self._until:
            raise ProblemError(
                "time is up before the chain was solved: allow more time, or set fewer limits"
            )


def _traced(problem: Problem, label: _Label) -> tuple[dict[str, Side], dict[str, str]]:
    placement: dict[str, Side] = {}
    codecs: dict[str, str] = {}
    step: _Label | None = label
    runs = []
    while step is not None:
        for chosen in step.codecs:
            codecs |= chosen
        if step.run is not None:
            runs.append(step.run)
        step = step.before
    first = 0
    for side, last in reversed(runs):
        placement |= {o.name: side for o in problem.operators[first : last + 1]}
        first = last + 1
    return placement, codecs


def _sum(one: Vector, other: Vector) -> Vector:
    return tuple(map(add, one, other))
