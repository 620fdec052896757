"""The optimal placement within limits that add up, for networks whose frontier is narrow.

Layers that are alike make a knapsack in which many sets take nearly the same: branch and bound
searches it for long. Here the operators are placed in order, and of all that leads to one state
(`frontier`) only that is kept which nothing else beats in every measure (label-setting; Joksch,
1966). Nor is what cannot be completed, within the limits, to a plan better than one that is known:
the cheapest completion of each state, by any prices of the measures, is found once, backwards.

At first only the most promising of each state are kept, then more, until what was left out is
proved to be no better.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jointdnn_tvm.placement.choices import PEAK, Choices
from jointdnn_tvm.placement.frontier import UNIT, Frontier, Step, TooWideError
from jointdnn_tvm.placement.judged_plan import EQUAL, JudgedPlan, judge
from jointdnn_tvm.placement.lagrangian import Relaxed
from jointdnn_tvm.placement.measures import MADE_OF
from jointdnn_tvm.placement.priced_cut import PricedCut
from jointdnn_tvm.placement.problem import Limits, Problem, Side
from jointdnn_tvm.placement.solution import LIMIT_SLACK

_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]

_WIDTHS = (64, 1024, 1 << 14)  # of labels that are kept of each state
_MARKS = 16  # that a measure is compared with
_NEVER = np.iinfo(np.int64).max
_ROUNDING = 1e-14  # relative, of sums in floats
_PRICES = np.geomspace(1e-3, 1e3, 61)  # of all that a limit allows, in what the known plan costs
_AROUND = np.geomspace(0.5, 2.0, 15)  # the best prices, times these, tell more of single labels


def search_labels(problem: Problem, target: str, known: Relaxed, until: float) -> Relaxed:
    """What is known of the least of a target (of `least`), and what can be found out in time.

    That is nothing more for peaks, for deadlines under spread and for throughput, for networks
    with many branches at once, and where no plan within the limits is known or quickly found.
    When it is found that there is none, that is an optimal None.
    """
    uses = (target, *problem.limits.active)
    spread = "max_latency_s" in uses and problem.limits.latency_sigmas > 0
    if spread or PEAK in uses or target == "throughput":
        return known
    first = known.plan or _thriftiest(problem)
    if first is None and len(problem.limits.active) > 1:
        met = _meet_limits(problem, until)
        if met.optimal:
            return met
        first = met.plan
    if first is None or not first.value(target):
        return known
    try:
        search = _LabelSearch(problem, target, first)
    except TooWideError:
        return known
    for width in _WIDTHS:
        bound, proved = search.widen(width, until)
        known = Relaxed(search.best, max(known.bound, bound), proved)
        if search.best.value(target) < first.value(target) / 8:
            # Plans that differ by little may have been told equal: that is relative to the first.
            return search_labels(problem, target, known._replace(optimal=False), until)
        if proved or time.monotonic() > until:
            break
    return known


def _thriftiest(problem: Problem) -> JudgedPlan | None:
    """The plan that takes least of all limits together, if it is within them."""
    tariff = {MADE_OF[name][0]: 1 / (limit or 1.0) for name, limit in problem.limits.active.items()}
    plan, _ = PricedCut(problem).cut(tariff)
    return plan if plan.within(problem.limits) else None


def _meet_limits(problem: Problem, until: float) -> Relaxed:
    """A plan within all limits, found as the least of one of them within the others."""
    *_, name = problem.limits.active
    limits = Limits(**{n: v for n, v in problem.limits.active.items() if n != name})
    found = search_labels(replace(problem, limits=limits), name, Relaxed(None, 0.0), until)
    if found.plan is None:
        return found
    if found.plan.within(problem.limits):
        return found._replace(optimal=False)
    far = found.plan.value(name) > problem.limits.active[name] * (1 + 2 * LIMIT_SLACK)
    return Relaxed(None, inf, optimal=found.optimal and far)


class _Layer(NamedTuple):
    """The steps of an operator, with the states that they lead from and to."""

    states: int
    start: _Integers
    end: _Integers
    takes: _Integers
    steps: list[Step]


class _Labels(NamedTuple):
    """Ways to a state: what each takes, the number of its last step, and of the label before."""

    taken: _Integers
    step: _Integers
    before: _Integers


class _LabelSearch:
    """Walks through all states, wider each time."""

    def __init__(self, problem: Problem, target: str, plan: JudgedPlan) -> None:
        self._problem, self._target, self.best = problem, target, plan
        self._toll = EQUAL / (2 + len(problem.operators))
        choices = Choices(problem, target, plan.value(target))
        (aim,) = MADE_OF[target]
        # What is better than the known plan is within a limit on the target itself.
        rooms = {MADE_OF[name][0]: limit for name, limit in problem.limits.active.items()}
        rooms.pop(aim, None)
        frontier = Frontier(problem, choices, (aim, *rooms), self._toll)
        self._layers = [_as_arrays(layer) for layer in frontier.layers]
        self._unit = choices.units[aim]
        self._least = UNIT * self._counted(plan)
        self._rooms = np.array(
            [UNIT * (1 + LIMIT_SLACK) * room / choices.units[name] for name, room in rooms.items()]
        )
        self._prices = self._choose_prices()
        self._after = self._completions(self._prices)

    def widen(self, width: int, until: float) -> tuple[float, bool]:
        """Search again with so many labels a state; returns a bound, and whether that is all."""
        history, left_out = self._walk(width, until)
        if len(history) > len(self._layers) and 0 in history[-1]:
            taken = history[-1][0].taken[:, 0]
            number = int(taken.argmin())
            plan = self._traced(history, number)
            if not plan.within(self._problem.limits):
                return 0.0, False  # by less than the rounding of sums
            if taken[number] < self._least:
                self.best, self._least = plan, float(taken[number])
        bound = (min(left_out, self._least) / UNIT - EQUAL) * self._unit
        return bound, left_out >= self._least

    def _counted(self, plan: JudgedPlan) -> float:
        return plan.value(self._target) / self._unit + self._toll * plan.metrics.switches

    def _choose_prices(self) -> _Floats:
        """Prices, a column each, whose bounds together are close.

        Those of the limits that make the bound highest, found for one limit after the other, and
        others near them; and each limit alone, which tells what cannot be completed within it.
        """
        count = len(self._rooms)
        best = np.zeros(count)
        for limit in [*range(count), *range(count)][: 2 * count if count > 1 else 1]:
            tried = np.repeat(best[:, None], len(_PRICES), axis=1)
            tried[limit] = _PRICES
            prices = np.concatenate([np.ones((1, len(_PRICES))), tried])
            bounds = self._completions(prices)[0][0] - self._rooms @ tried
            best = tried[:, bounds.argmax()]
        columns = [best * factor for factor in (0.0, *_AROUND)]
        for limit in range(count if count > 1 else 0):
            for factor in (0.0, *_AROUND):
                columns.append(best.copy())
                columns[-1][limit] *= factor
        prices = np.concatenate([np.ones((1, len(columns))), np.array(columns).T])
        alone = np.concatenate([np.zeros((1, count)), np.eye(count)])
        return np.concatenate([prices, alone], axis=1)

    def _completions(self, prices: _Floats) -> list[_Floats]:
        """What the cheapest way on from each state costs, before each operator and at the end."""
        after = np.zeros((1, prices.shape[1]))
        found = [after]
        for layer in reversed(self._layers):
            costs = layer.takes @ prices + after[layer.end]
            after = np.full((layer.states, prices.shape[1]), inf)
            np.minimum.at(after, layer.start, costs)
            found.append(after)
        return found[::-1]

    def _walk(self, width: int, until: float) -> tuple[list[dict[int, _Labels]], float]:
        """The labels of each state, layer by layer, and what all that were left out cost at least.

        When the time is up the last layers are missing.
        """
        nothing = np.zeros(1, np.int64)
        labels = {0: _Labels(np.zeros((1, 1 + len(self._rooms)), np.int64), nothing, nothing)}
        history, left_out = [labels], inf
        for layer, after in zip(self._layers, self._after[1:], strict=True):
            if time.monotonic() > until:
                return history, -inf
            arriving: dict[int, list[_Labels]] = defaultdict(list)
            for number, (start, end) in enumerate(zip(layer.start, layer.end, strict=True)):
                if start in labels:
                    taken = labels[start].taken + layer.takes[number]
                    step = np.full(len(taken), number)
                    arriving[end].append(_Labels(taken, step, np.arange(len(taken))))
            labels = {}
            for end, parts in arriving.items():
                together = _Labels(*map(np.concatenate, zip(*parts, strict=True)))
                best, least = self._best(together, after[end], width)
                left_out = min(left_out, least)
                if len(best.taken):
                    labels[end] = best
            history.append(labels)
        return history, left_out

    def _best(self, labels: _Labels, after: _Floats, width: int) -> tuple[_Labels, float]:
        """The most promising labels of a state, and what the others cost at least."""
        costs = labels.taken @ self._prices + after
        spare = self._rooms @ self._prices[1:]
        most = self._least * self._prices[0] + spare
        kept = np.flatnonzero((costs <= most * (1 + _ROUNDING)).all(axis=1))
        kept = kept[_unbeaten(labels.taken[kept])]
        left_out = inf
        if len(kept) > width:
            bounds = (costs[kept] - spare)[:, self._prices[0] == 1].max(axis=1)
            ranked = np.argpartition(bounds, width)
            kept, left_out = kept[ranked[:width]], float(bounds[ranked[width]])
        return _Labels(*(part[kept] for part in labels)), left_out

    def _traced(self, history: list[dict[int, _Labels]], number: int) -> JudgedPlan:
        """The plan of a label at the end."""
        placement: dict[str, Side] = {}
        codecs: dict[str, str] = {}
        state = 0
        for position in reversed(range(len(self._layers))):
            labels, layer = history[position + 1][state], self._layers[position]
            step = layer.steps[labels.step[number]]
            placement[self._problem.operators[position].name] = step.side
            codecs |= dict(step.codecs)
            state = int(layer.start[labels.step[number]])
            number = int(labels.before[number])
        return judge(self._problem, placement, codecs)


def _unbeaten(taken: _Integers) -> _Integers:
    """The numbers of the labels that no other one beats, and with many measures of some more.

    Two measures can have any number of values. The others are compared with a few of the values
    that there are: with all of them when they are not many.
    """
    taken = taken[:, np.argsort([len(np.unique(values)) for values in taken.T])]
    order = np.lexsort(taken.T)  # one that beats another comes before it
    last, between = taken[order, -2:][:, 0], taken[order, :-2]
    at_least, at_most = np.zeros_like(between), np.zeros_like(between)
    for measure, values in enumerate(between.T):
        marks = np.unique(values)
        marks = marks[:: 1 + len(marks) // _MARKS]
        at_least[:, measure] = np.searchsorted(marks, values, "right") - 1
        at_most[:, measure] = np.searchsorted(marks, values, "left")
    beaten = np.zeros(len(order), bool)
    for level in np.unique(at_least, axis=0) if len(order) else []:
        rivals = (at_most <= level).all(axis=1)
        least = np.minimum.accumulate(np.where(rivals, last, _NEVER))
        beaten[1:] |= (at_least[1:] == level).all(axis=1) & (least[:-1] <= last[1:])
    return order[~beaten]


def _as_arrays(layer: list[list[Step]]) -> _Layer:
    steps = [step for some in layer for step in some]
    return _Layer(
        states=len(layer),
        start=np.repeat(np.arange(len(layer)), [len(some) for some in layer]),
        end=np.array([step.state for step in steps]),
        takes=np.array([step.takes for step in steps]),
        steps=steps,
    )
