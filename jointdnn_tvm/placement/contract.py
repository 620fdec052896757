"""Operators that no minimum cut separates, found without solving anything.

Two rules, each in doubles with a margin far above their rounding; the cut itself is exact.

Decide: moving v from the cloud to the mobile adds what v costs more there, and at most what leaves
v. When that saves, v is on the mobile in every minimal cut; likewise the other way round, with what
enters v. A decided operator's nets become costs of the operators at their other ends.

Merge: let u be on the mobile and v on the cloud, and J be what separating them costs in both
directions together. Moving v to the mobile saves the one direction of J and adds what v costs more
there and at most what leaves v, less the other direction; moving u to the cloud likewise adds at
most what enters u. So when J is more than either, a cut that separates them so is not minimal. When
that holds whichever of the two is on the mobile, they are one node of the cut.

This leaves few nodes of a large network, whose flow would otherwise take as many phases as its
longest path has operators.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jointdnn_tvm.placement.cut_model import Contracted, uncontracted
from jointdnn_tvm.placement.prices import Prices
from jointdnn_tvm.placement.problem import Problem

_WORTH = 6  # another round is worth its time when the last spared one node in so many
_FEW = 30  # nodes that are quicker to cut than to make fewer
_ROUNDING = 1e-15  # relative, of a sum of doubles, for each of its terms

Indices = NDArray[np.int64]
Costs = NDArray[np.float64]


def contract(
    problem: Problem, prices: Prices[float], equal_parts: int, *, one_way: bool = False
) -> Contracted:
    """Put operators in one node that no minimal cut separates, and no cut that is all but minimal.

    That is one that pays up to one part in `equal_parts` more. Prices and ``one_way`` are those of
    `cut_model`.
    """
    left = len(problem.operators)
    if left <= _FEW:
        return uncontracted(problem)
    merging = _Merging(problem, prices, equal_parts, one_way=one_way)
    while left > _FEW and (fewer := merging.one_round()) * _WORTH > left:
        left -= fewer
    return merging.contracted()


class _Merging:
    """Labels of the operators, and what the terms of the cut between labels cost.

    A label is an operator's number, or `self._mobile` or `self._cloud`: decided. A term is a
    tensor or a switch in one way, 0 up and 1 down: it is paid once when its producer is on the
    near side of the way and any of its members on the far side.
    """

    def __init__(
        self, problem: Problem, prices: Prices[float], equal_parts: int, *, one_way: bool
    ) -> None:
        count = len(problem.operators)
        self._mobile, self._cloud = count, count + 1
        self._label = np.arange(count + 2)
        self._balance = np.zeros(count + 2)  # what a node pays more on the mobile
        self._are_distinct = True  # the members of each term
        self._read_terms(problem, prices)
        on_mobile, on_cloud = _known(prices.mobile), _known(prices.cloud)
        cannot = np.isnan(on_mobile), np.isnan(on_cloud)
        on_mobile[cannot[0]] = on_cloud[cannot[1]] = 0.0
        infinite = 4 * float(on_mobile.sum() + on_cloud.sum() + self._price.sum())
        self._margin = infinite * (2 / equal_parts + len(self._price) * _ROUNDING)
        self._balance[:count] = on_mobile - on_cloud
        self._balance[:count] += infinite * cannot[0]
        self._balance[:count] -= infinite * cannot[1]
        if problem.ends_on_mobile:  # an output pays its way back with its operator
            ends = np.flatnonzero(self._outputs)
            downs = ends + len(self._price) // 2
            self._balance -= self._sum(self._producer[ends], self._price[downs])
            self._price[downs] = 0.0
        if one_way:
            half = len(self._price) // 2
            self._price[half : half + len(prices.down)] = infinite

    def _read_terms(self, problem: Problem, prices: Prices[float]) -> None:
        """The tensors, then the switches: upwards, then all of them again downwards."""
        place, tensors = problem.positions, problem.tensors
        producers = [self._mobile if t.producer is None else place[t.producer] for t in tensors]
        sizes = [len(tensor.consumers) for tensor in tensors]
        members = [place[name] for tensor in tensors for name in tensor.consumers]
        befores, afters = [self._mobile, *range(self._mobile - 1)], list(range(self._mobile))
        if not problem.starts_on_mobile:
            befores, afters = befores[1:], afters[1:]
        if problem.ends_on_mobile:
            befores.append(self._mobile)
            afters.append(self._mobile - 1)
        switch = [prices.switch] * len(befores)
        producers += befores
        sizes += [1] * len(befores)
        members += afters
        half = len(sizes)
        self._outputs = [tensor.output for tensor in tensors]
        self._price = np.array(prices.up + switch + prices.down + switch)
        self._producer = np.array(producers * 2, dtype=np.int64)
        self._term, self._member = (
            np.repeat(np.arange(2 * half), sizes * 2),
            np.array(members * 2, dtype=np.int64),
        )
        self._way = np.repeat((0, 1), half)
        self._near, self._far = self._mobile + self._way, self._cloud - self._way
        self._upwards = self._producer, self._term[: len(members)], self._member[: len(members)]

    def one_round(self) -> int:
        """Decide and merge all that can be told now; returns how many nodes that spares."""
        self._settle()
        count, way = len(self._label), self._way
        produced = np.bincount(self._producer + way * count, self._price, 2 * count)
        read = np.bincount(
            self._member + way[self._term] * count, self._price[self._term], 2 * count
        )
        to_mobile = produced[:count] + read[count:] + self._balance
        to_cloud = produced[count:] + read[:count] - self._balance
        free = np.flatnonzero(self._label == np.arange(count))[:-2]
        merged = np.arange(count)
        merged[free[to_mobile[free] < -self._margin]] = self._mobile
        merged[free[to_cloud[free] < -self._margin]] = self._cloud
        merged = self._joined(merged, *self._inseparable(to_mobile, to_cloud))
        self._label = merged[self._label]
        self._balance = self._sum(merged, self._balance)
        self._producer, self._member = merged[self._producer], merged[self._member]
        self._are_distinct = False
        return int(np.count_nonzero(merged[free] != free))

    def contracted(self) -> Contracted:
        """What is left of the problem."""
        _, numbers = np.unique(self._label[: self._mobile], return_inverse=True)
        producer, term, member = self._upwards
        producer = producer[term]
        across = (self._label[producer] != self._label[member]) | (producer == self._mobile)
        can_pay = np.array(self._outputs, dtype=bool)
        can_pay[term[across & (term < len(can_pay))]] = True
        return Contracted(list(numbers.tolist()), list(np.flatnonzero(can_pay).tolist()))

    def _settle(self) -> None:
        """Leave the members alone that can still make their term be paid.

        What a term surely pays, or pays for one operator's side alone, goes to that operator.
        """
        if not self._are_distinct:
            keys = np.sort(self._term * len(self._label) + self._member)
            keys = keys[_firsts(keys)]
            self._term, self._member = np.divmod(keys, len(self._label))
        term, member, producer, price = self._term, self._member, self._producer, self._price
        price[producer == self._far] = 0.0
        surely = np.zeros(len(price), bool)
        surely[term[member == self._far[term]]] = True
        self._fold(np.flatnonzero(surely), producer, 1)
        live = (price[term] > 0) & (member != producer[term]) & (member != self._near[term])
        term, member = term[live], member[live]
        members = np.bincount(term, minlength=len(price))
        price[members == 0] = 0.0
        alone = (members[term] == 1) & (producer[term] == self._near[term])
        reader = np.zeros(len(price), np.int64)
        reader[term[alone]] = member[alone]
        self._fold(term[alone], reader, -1)
        self._term, self._member = term[~alone], member[~alone]

    def _fold(self, terms: Indices, payer: Indices, sign: int) -> None:
        """Make terms a price of the one operator that decides whether they are paid.

        It pays on the near side (sign 1) or on the far one (-1).
        """
        if len(terms):
            signs = sign * (1 - 2 * self._way[terms])
            self._balance += self._sum(payer[terms], signs * self._price[terms])
            self._price[terms] = 0.0

    def _inseparable(self, to_mobile: Costs, to_cloud: Costs) -> tuple[Indices, Indices]:
        """The pairs that no minimal cut separates, of those that a term joins alone."""
        only = np.bincount(self._term, minlength=len(self._price))[self._term] == 1
        term, member = self._term[only], self._member[only]
        producer = self._producer[term]
        keys = np.minimum(producer, member) * len(self._label) + np.maximum(producer, member)
        order = np.argsort(keys)
        keys = keys[order]
        first = np.flatnonzero(_firsts(keys))
        joint = np.add.reduceat(self._price[term[order]], first) if len(first) else np.zeros(0)
        u, v = np.divmod(keys[first], len(self._label))
        least = joint - self._margin
        apart = (least > to_mobile[v]) | (least > to_cloud[u])
        apart &= (least > to_mobile[u]) | (least > to_cloud[v])
        return u[apart], v[apart]

    def _joined(self, label: Indices, u: Indices, v: Indices) -> Indices:
        """Labels with which both nodes of each pair have one: the largest of all that are joined.

        So the decided, whose numbers are the largest, stay what they are.
        """
        while True:
            one, other = label[u], label[v]
            lower, upper = np.minimum(one, other), np.maximum(one, other)
            apart = (lower != upper) & (lower != self._mobile)
            if not apart.any():
                return label
            label[lower[apart]] = upper[apart]
            while ((nearer := label[label]) != label).any():
                label = nearer

    def _sum(self, where: Indices, what: Costs) -> Costs:
        return np.bincount(where, what, len(self._label)).astype(np.float64, copy=False)


def _firsts(keys: Indices) -> NDArray[np.bool_]:
    """Where sorted keys differ from the one before; np.unique hashes, which takes longer."""
    firsts = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=firsts[1:])
    return firsts


def _known(prices: list[float | None]) -> Costs:
    """The prices, NaN where an operator cannot run."""
    return np.array(prices, dtype=np.float64)
