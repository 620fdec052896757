"""An objective's prices as linear functions of the link and the cloud's load.

A price is a constant and a slope for each part of a condition: 1/uplink and 1/downlink (s/bit),
rtt (s), and the cloud's slowdown (a factor). Rates, rtt and load of the problem itself play no
part. A tensor's crossing costs the least of such functions, one for each of its encodings.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import numpy.typing as npt

from jointdnn_tvm.placement.prices import Prices
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, SIDES, Codec, Operator, Problem, Side

Array = npt.NDArray[np.float64]
_Linear = tuple[float, float, float, float, float]


class LinearPrices:
    """The prices of a problem whose objective is latency (s) or energy (J)."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        operators, tensors = problem.operators, problem.tensors
        self._runs = [o.cost(side) is not None for side in SIDES for o in operators]
        rows = [self._operator(o, side) for side in SIDES for o in operators]
        self._fixed = np.array([*rows, self._switch()])
        crossings = [self._crossing(c, s) for s in SIDES for t in tensors for c in t.encodings]
        self._crossings = np.array(crossings).reshape(-1, self._fixed.shape[1])
        counts = [len(tensor.encodings) for _ in SIDES for tensor in tensors]
        self._first = [0, *accumulate(counts)][:-1]

    def at(self, condition: Array) -> Prices[float]:
        """The prices at 1/uplink, 1/downlink, rtt and slowdown."""
        terms = np.append(1.0, condition)
        *values, switch = (self._fixed @ terms).tolist()
        known = [v if runs else None for v, runs in zip(values, self._runs, strict=True)]
        crossings = self._crossings @ terms
        least = np.minimum.reduceat(crossings, self._first).tolist() if len(crossings) else []
        operators, tensors = len(known) // 2, len(least) // 2
        return Prices(
            mobile=known[:operators],
            cloud=known[operators:],
            up=least[:tensors],
            down=least[tensors:],
            switch=switch,
        )

    def _operator(self, operator: Operator, side: Side) -> _Linear:
        cost = operator.cost(side)
        if cost is None:
            return (0.0, 0.0, 0.0, 0.0, 0.0)
        if side == CLOUD:
            return self._waiting(slowdown=cost.latency_s)
        return (cost.energy_j if self._is_energy else cost.latency_s, 0.0, 0.0, 0.0, 0.0)

    def _switch(self) -> _Linear:
        tail_j = self._problem.link.tail_j / 2 if self._is_energy else 0.0
        return (tail_j, *self._waiting(rtt=0.5)[1:])

    def _waiting(self, rtt: float = 0.0, slowdown: float = 0.0) -> _Linear:
        """The mobile waits for so many rtt and, times the slowdown, seconds."""
        price = self._problem.link.idle_w if self._is_energy else 1.0
        return (0.0, 0.0, 0.0, price * rtt, price * slowdown)

    def _crossing(self, codec: Codec, leaves: Side) -> _Linear:
        link, upwards = self._problem.link, leaves == MOBILE
        if self._is_energy:
            constant = codec.encode_j if upwards else codec.decode_j
            price = link.transmit_w if upwards else link.receive_w
        else:
            enters = CLOUD if upwards else MOBILE
            constant = getattr(codec.encode_s, leaves) + getattr(codec.decode_s, enters)
            price = 1.0
        slope = price * 8 * codec.size_bytes
        return (constant, slope, 0.0, 0.0, 0.0) if upwards else (constant, 0.0, slope, 0.0, 0.0)

    @property
    def _is_energy(self) -> bool:
        return self._problem.objective == "energy"
