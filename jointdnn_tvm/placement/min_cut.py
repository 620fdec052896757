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

from jointdnn_tvm.placement.contract import contract
from jointdnn_tvm.placement.cut_model import START, CutModel, Net, cut_model
from jointdnn_tvm.placement.max_flow import FlowNetwork
from jointdnn_tvm.placement.prices import Prices, cheapest, in_units, price
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, Problem, Side, Tensor
from jointdnn_tvm.placement.solution import Solution

# Decimal costs are rarely exact in binary (0.1 + 0.2 > 0.3), so placements that differ by less
# than one part in so many count as equal, and the one with the fewest switches is taken.
EQUAL_PARTS = 10**11

_SOURCE, _SINK, _FIRST = 0, 1, 2


def minimum_cut(problem: Problem) -> Solution:
    """An optimal placement with the fewest switches, for latency or energy without limits."""
    return _minimum(problem, one_way=False)[0]


def one_way_cut(problem: Problem) -> Solution | None:
    """The best placement that moves from mobile to cloud only; None: there is none."""
    solution, possible = _minimum(problem, one_way=True)
    return solution if possible else None


def _minimum(problem: Problem, *, one_way: bool) -> tuple[Solution, bool]:
    """The minimum, and whether it can be made at all."""
    sides, bound = cheapest_sides(problem, price(problem), one_way=one_way)
    placement = {o.name: side for o, side in zip(problem.operators, sides, strict=True)}
    codecs = codecs_of(problem, placement)
    return Solution(placement, codecs, bound, proved=True, solver="min-cut"), bound is not None


def cheapest_sides(
    problem: Problem, prices: Prices[float], *, one_way: bool = False
) -> tuple[list[Side], float | None]:
    """The operators' sides at the least price, and that price; None where no cut can be made."""
    most_switches = len(problem.operators) + 1
    contracted = contract(problem, prices, EQUAL_PARTS, one_way=one_way)
    left = Prices(
        prices.mobile,
        prices.cloud,
        [prices.up[i] for i in contracted.tensors],
        [prices.down[i] for i in contracted.tensors],
        prices.switch,
    )
    # Units so fine that one for each switch cannot outweigh any difference of two prices.
    in_integers, units = in_units(left, finer=most_switches + 1)
    model = cut_model(problem, in_integers, contracted, one_way=one_way)
    cut = _Cut(model)
    optimum = cut.minimise()
    cut.charge_switches(max(1, optimum // EQUAL_PARTS // most_switches))
    sides = cut.sides()
    possible = optimum < model.infinite
    return [sides[node] for node in contracted.nodes], optimum / units if possible else None


def codecs_of(problem: Problem, placement: dict[str, Side]) -> dict[str, str]:
    """For each tensor, the codec that is cheapest from the side where it is made."""
    return {
        tensor.name: cheapest(problem, tensor, _made_on(tensor, placement))[1].name
        for tensor in problem.tensors
        if tensor.codecs
    }


def _made_on(tensor: Tensor, placement: dict[str, Side]) -> Side:
    return MOBILE if tensor.producer is None else placement[tensor.producer]


class _Cut:
    """The flow network of a model."""

    def __init__(self, model: CutModel) -> None:
        self._model = model
        self._network = FlowNetwork(_FIRST + len(model.mobile))
        self._flow = self._join_ends()
        for net in model.nets:
            self._join(net)

    def minimise(self) -> int:
        """Find a minimum cut; returns its value."""
        self._flow += self._network.augment(_SOURCE, _SINK)
        return self._flow

    def charge_switches(self, toll: int) -> None:
        """Minimise again, with every switch dearer by a toll."""
        for one, other in self._model.neighbours:
            self._network.add_arc(_node(one), _node(other), toll, toll)
        self._network.augment(_SOURCE, _SINK)

    def sides(self) -> list[Side]:
        """The side of each node in the cut last found; what could be on either is on the mobile."""
        on_cloud = self._network.reaches(_SINK)
        return [CLOUD if on_cloud[_node(n)] else MOBILE for n in range(len(self._model.mobile))]

    def _join_ends(self) -> int:
        """Arcs from the source and to the sink; returns what every cut pays."""
        paid = 0
        for node, (mobile, cloud) in enumerate(
            zip(self._model.mobile, self._model.cloud, strict=True), _FIRST
        ):
            paid += min(mobile, cloud)
            if mobile > cloud:
                self._network.add_arc(node, _SINK, mobile - cloud)
            elif cloud > mobile:
                self._network.add_arc(_SOURCE, node, cloud - mobile)
        return paid

    def _join(self, net: Net) -> None:
        network, producer = self._network, _node(net.producer)
        if len(net.consumers) == 1:
            network.add_arc(producer, _node(net.consumers[0]), net.up, net.down)
            return
        if net.up:
            helper = network.add_node()
            network.add_arc(producer, helper, net.up)
            for consumer in net.consumers:
                network.add_arc(helper, _node(consumer), self._model.infinite)
        if net.down:
            helper = network.add_node()
            network.add_arc(helper, producer, net.down)
            for consumer in net.consumers:
                network.add_arc(_node(consumer), helper, self._model.infinite)


def _node(number: int) -> int:
    return _SOURCE if number == START else _FIRST + number
