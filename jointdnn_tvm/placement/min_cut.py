"""The optimal placement without limits, as a minimum cut.

Source side: mobile; sink side: cloud. An operator pays its cloud price when it is cut from the
source and its mobile price when it is cut from the sink. A tensor pays once a direction, so one
with several consumers gets a helper node a direction::

    up      producer --U--> helper --inf--> each consumer
    down    each consumer --inf--> helper --D--> producer

Inputs start and outputs end at the source. Neighbours in the execution order are joined both
ways by the price of a switch, and so are the source and the two ends of the order.

Prices are floats, hence binary fractions: multiplied by one power of two they are integers, and
the cut is the true optimum with nothing rounded.
"""

from __future__ import annotations

from jointdnn_tvm.placement.max_flow import FlowNetwork
from jointdnn_tvm.placement.prices import Prices, in_units, price
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, Problem, Side, Tensor

# Decimal costs are rarely exact in binary (0.1 + 0.2 > 0.3), so placements that differ by less
# than one part in so many count as equal, and the one with the fewest switches is taken.
EQUAL_PARTS = 10**11

_SOURCE, _SINK, _FIRST = 0, 1, 2  # the node of the first operator; the others follow in order


def minimum_cut(problem: Problem) -> tuple[dict[str, Side], float]:
    """An optimal placement with the fewest switches, and the proved lower bound (s or J)."""
    most_switches = len(problem.operators) + 1
    # Units so fine that one for each switch cannot outweigh any difference of two prices.
    prices, units = in_units(price(problem), finer=most_switches + 1)
    cut = _Cut(problem, prices)
    optimum = cut.minimise()
    cut.charge_switches(max(1, optimum // EQUAL_PARTS // most_switches))
    return cut.placement(), optimum / units


class _Cut:
    """The flow network of a problem, built in the constructor."""

    def __init__(self, problem: Problem, prices: Prices[int]) -> None:
        self._problem = problem
        self._network = FlowNetwork(_FIRST + len(problem.operators))
        # Above the value of any cut, also once switches are charged for.
        self._infinite = (
            2 * sum(value for value in prices.every() if value) + len(problem.operators) + 2
        )
        self._mobile = [self._infinite if value is None else value for value in prices.mobile]
        self._cloud = [self._infinite if value is None else value for value in prices.cloud]
        self._switch_arcs = self._join_neighbours(prices.switch)
        for tensor, up, down in zip(problem.tensors, prices.up, prices.down, strict=True):
            self._add_tensor(tensor, up, down)
        self._flow = self._join_operators()

    def minimise(self) -> int:
        """Find a minimum cut; returns its value."""
        self._flow += self._network.augment(_SOURCE, _SINK)
        return self._flow

    def charge_switches(self, toll: int) -> None:
        """Minimise again, with every switch dearer by a toll."""
        for arc in self._switch_arcs:
            self._network.widen(arc, toll)
        self._network.augment(_SOURCE, _SINK)

    def placement(self) -> dict[str, Side]:
        """The sides of the cut last found; what could be on either is on the mobile."""
        on_cloud = self._network.reaches(_SINK)
        return {
            operator.name: CLOUD if on_cloud[node] else MOBILE
            for node, operator in enumerate(self._problem.operators, _FIRST)
        }

    def _join_neighbours(self, switch: int) -> list[int]:
        """Arcs that a switch cuts, one a direction."""
        add, last = self._network.add_arc, _FIRST + len(self._problem.operators) - 1
        arcs: list[int] = []
        for node in range(_FIRST, last):
            arc = add(node, node + 1, switch, switch)
            arcs += (arc, arc ^ 1)
        if self._problem.starts_on_mobile:
            arcs.append(add(_SOURCE, _FIRST, switch))
        if self._problem.ends_on_mobile:
            arcs.append(add(_SOURCE, last, switch))
        return arcs

    def _add_tensor(self, tensor: Tensor, up: int, down: int) -> None:
        positions = self._problem.positions
        consumers = {positions[name] for name in tensor.consumers}
        if tensor.producer is None:
            producer, down = _SOURCE, 0
        else:
            producer = _FIRST + positions[tensor.producer]
            if tensor.output and self._problem.ends_on_mobile:
                self._cloud[positions[tensor.producer]] += down
                down = 0
        if len(consumers) == 1:
            (consumer,) = consumers
            if producer == _SOURCE:
                self._cloud[consumer] += up
            elif up or down:
                self._network.add_arc(producer, _FIRST + consumer, up, down)
            return
        if consumers and up:
            helper = self._network.add_node()
            self._network.add_arc(producer, helper, up)
            for consumer in consumers:
                self._network.add_arc(helper, _FIRST + consumer, self._infinite)
        if consumers and down:
            helper = self._network.add_node()
            self._network.add_arc(helper, producer, down)
            for consumer in consumers:
                self._network.add_arc(_FIRST + consumer, helper, self._infinite)

    def _join_operators(self) -> int:
        """Arcs from the source and to the sink; the lesser price is paid in every cut."""
        paid = 0
        for node, (mobile, cloud) in enumerate(zip(self._mobile, self._cloud, strict=True), _FIRST):
            paid += min(mobile, cloud)
            if cloud > mobile:
                self._network.add_arc(_SOURCE, node, cloud - mobile)
            elif mobile > cloud:
                self._network.add_arc(node, _SINK, mobile - cloud)
        return paid
