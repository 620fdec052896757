"""What each choice of a placement adds to each measure: seconds, joules, bytes, errors.

A measure is what simply adds up over operators, crossings and switches. Every objective and
every limit is made of measures (`MADE_OF`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Generic, TypeVar

from jointdnn_tvm.placement.problem import MOBILE, Codec, Operator, Problem, Side

Number = TypeVar("Number", float, Fraction)

BUSY = ("mobile_busy", "uplink", "cloud_busy", "downlink")
MEASURES = ("latency", "energy", "cloud", "weights", "error", *BUSY)
MADE_OF = {
    "latency": ("latency",),
    "energy": ("energy",),
    "throughput": BUSY,
    "max_latency_s": ("latency",),
    "max_energy_j": ("energy",),
    "max_cloud_s": ("cloud",),
    "max_mobile_bytes": ("weights",),
    "max_mobile_peak_bytes": ("weights",),
    "max_error": ("error",),
}
"""The measures in an objective, or in what a limit bounds, which is at least each of them.

A deadline has standard deviations beside them, and a peak the tensors held.
"""

Piece = Mapping[str, float]
"""What something takes of each measure that it names."""


class Measures(Generic[Number]):
    """The pieces of a problem, with ``number`` (such as float) reading what it holds.

    A measure that a piece does not name gets nothing from it.
    """

    def __init__(self, problem: Problem, number: Callable[[float], Number]) -> None:
        self._number: Callable[[float], Number] = number
        self._link: dict[str, Number] = {
            name: number(value) for name, value in vars(problem.link).items()
        }
        self._carried: dict[str, Number] = {}
        for tensor in problem.tensors:
            if tensor.carried and tensor.producer is not None:
                before = self._carried.get(tensor.producer, number(0))
                self._carried[tensor.producer] = before + 2 * number(tensor.size_bytes)

    def operator(self, operator: Operator, side: Side) -> dict[str, Number] | None:
        """What an operator adds on a side, without blocks; None: it cannot run there."""
        cost = operator.cost(side)
        if cost is None:
            return None
        parts = self.seconds(side, self._number(cost.latency_s))
        if side == MOBILE:
            parts["energy"] = self._number(cost.energy_j)
            parts["weights"] = self._number(cost.memory_bytes)
            if operator.name in self._carried:
                parts["weights"] += self._carried[operator.name]
        return parts

    def seconds(self, side: Side, seconds: Number) -> dict[str, Number]:
        """What so many seconds of a side's operators add, but for the mobile's energy."""
        if side == MOBILE:
            return {"latency": seconds, "mobile_busy": seconds}
        energy = self._link["idle_w"] * seconds
        return {"latency": seconds, "energy": energy, "cloud": seconds, "cloud_busy": seconds}

    def crossing(self, codec: Codec, leaves: Side) -> dict[str, Number]:
        """What a tensor adds that leaves a side by a codec."""
        up = leaves == MOBILE
        rate = self._link["uplink_bps" if up else "downlink_bps"]
        busy_s = 8 * self._number(codec.size_bytes) / rate
        on_mobile = self._number(codec.encode_s.mobile if up else codec.decode_s.mobile)
        on_cloud = self._number(codec.decode_s.cloud if up else codec.encode_s.cloud)
        return {
            "latency": busy_s + on_mobile + on_cloud,
            "energy": self._link["transmit_w" if up else "receive_w"] * busy_s
            + self._number(codec.encode_j if up else codec.decode_j),
            "error": self._number(codec.error),
            "mobile_busy": on_mobile,
            "cloud_busy": on_cloud,
            "uplink" if up else "downlink": busy_s,
        }

    def switch(self) -> dict[str, Number]:
        """What a switch adds."""
        wait_s = self._link["rtt_s"] / 2
        energy = self._link["idle_w"] * wait_s + self._link["tail_j"] / 2
        return {"latency": wait_s, "energy": energy}
