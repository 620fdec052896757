"""Other solvers of a placement without limits: each from the same problem to a side for each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from networkx.algorithms.flow import preflow_push

from jointdnn_tvm.placement import CLOUD, MOBILE, Problem, Side, solve
from jointdnn_tvm.placement.cut_model import START, CutModel, cut_model
from jointdnn_tvm.placement.prices import in_units, price

Placement = dict[str, Side]
_INT64 = 1 << 62


@dataclass(frozen=True)
class Solver:
    """A name, and what solves; `package` is what it needs beyond the product's own."""

    name: str
    solve: Callable[[Problem], Placement]
    package: str | None = None

    @property
    def is_installed(self) -> bool:
        """Whether it can run here."""
        return self.package is None or importlib.util.find_spec(self.package) is not None


def ours(problem: Problem) -> Placement:
    """The product, with its tie-break and its evaluation."""
    return solve(problem).placement


def networkx_push(problem: Problem) -> Placement:
    """Preflow-push on the same integers: the oracle."""
    model = _model(problem)
    graph = nx.DiGraph()
    for tail, head, capacity in _arcs(model):
        if graph.has_edge(tail, head):
            capacity += graph.edges[tail, head]["capacity"]
        graph.add_edge(tail, head, capacity=capacity)
    _, (mobile, _) = nx.minimum_cut(graph, "mobile", "cloud", flow_func=preflow_push)
    return _placement(problem, [index in mobile for index in range(len(model.mobile))])


def ortools_flow(problem: Problem) -> Placement:
    """Its maximum flow takes integers of 64 bits: capacities are rounded to fit."""
    from ortools.graph.python import max_flow

    model = _model(problem)
    arcs = list(_arcs(model))
    numbers = {name: i for i, name in enumerate(dict.fromkeys(n for a in arcs for n in a[:2]))}
    ends = np.array([(numbers[tail], numbers[head]) for tail, head, _ in arcs])
    shift = max(0, (model.infinite * len(arcs)).bit_length() - _INT64.bit_length())
    flow = max_flow.SimpleMaxFlow()
    flow.add_arcs_with_capacity(ends[:, 0], ends[:, 1], np.array([c >> shift for *_, c in arcs]))
    assert flow.solve(numbers["mobile"], numbers["cloud"]) == flow.OPTIMAL
    mobile = set(flow.get_source_side_min_cut())
    return _placement(problem, [numbers.get(i) in mobile for i in range(len(model.mobile))])


def highs_lp(problem: Problem) -> Placement:
    """The cut as a linear program, whose corners are integers: x is 1 on the mobile.

    A net adds what is above x of its producer less x of any consumer, and the other way round.
    """
    import highspy

    prices = in_units(price(problem), finer=1)
    model, units = cut_model(problem, prices[0]), prices[1]
    count, free = len(model.mobile), model.infinite
    costs = [
        0.0 if free in both else (both[0] - both[1]) / units
        for both in zip(model.mobile, model.cloud, strict=True)
    ] + [0.0]
    lower = [float(cloud >= free) for cloud in model.cloud] + [1.0]  # the last is START's
    upper = [float(mobile < free) for mobile in model.mobile] + [1.0]
    rows: list[tuple[int, int, int]] = []
    for net in model.nets:
        producer = count if net.producer == START else net.producer
        for cost, sign in ((net.up, 1), (net.down, -1)):
            if cost:
                costs.append(cost / units)
                pairs = [(producer, consumer)[::sign] for consumer in net.consumers]
                rows += [(len(costs) - 1, *pair) for pair in pairs]
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(costs), len(rows)
    lp.col_cost_ = np.array(costs)
    crossings = len(costs) - count - 1
    lp.col_lower_ = np.array(lower + [0.0] * crossings)
    lp.col_upper_ = np.array(upper + [1.0] * crossings)
    lp.row_lower_, lp.row_upper_ = np.zeros(len(rows)), np.full(len(rows), highspy.kHighsInf)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.arange(len(rows) + 1) * 3
    lp.a_matrix_.index_ = np.array(rows, np.int32).ravel()
    lp.a_matrix_.value_ = np.tile((1.0, -1.0, 1.0), len(rows))  # crossing - from + to >= 0
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.passModel(lp)
    solver.run()
    values = solver.getSolution().col_value[:count]
    return _placement(problem, [value > 0.5 for value in values])


OURS = Solver("ours", ours)
ORACLE = Solver("networkx", networkx_push)
SOLVERS = (
    OURS,
    ORACLE,
    Solver("highs lp", highs_lp, "highspy"),
    Solver("ortools", ortools_flow, "ortools"),
)


def _model(problem: Problem) -> CutModel:
    return cut_model(problem, in_units(price(problem), finer=1)[0])


def _arcs(model: CutModel) -> Iterator[tuple[Any, Any, int]]:
    """The flow network, of which only the nodes have other names than the product's."""
    for node, (mobile, cloud) in enumerate(zip(model.mobile, model.cloud, strict=True)):
        if mobile > cloud:
            yield node, "cloud", mobile - cloud
        elif cloud > mobile:
            yield "mobile", node, cloud - mobile
    for number, net in enumerate(model.nets):
        producer = "mobile" if net.producer == START else net.producer
        if net.up:
            yield producer, ("up", number), net.up
            yield from ((("up", number), consumer, model.infinite) for consumer in net.consumers)
        if net.down:
            yield ("down", number), producer, net.down
            yield from ((consumer, ("down", number), model.infinite) for consumer in net.consumers)


def _placement(problem: Problem, on_mobile: list[bool]) -> Placement:
    names = (operator.name for operator in problem.operators)
    return {n: MOBILE if here else CLOUD for n, here in zip(names, on_mobile, strict=True)}
