"""An objective as prices: what each choice adds to it, as floats and as exact integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from math import frexp, fsum
from typing import Generic, TypeVar

from jointdnn_tvm.placement.problem import CLOUD, MOBILE, Codec, Problem, Side, Tensor

Number = TypeVar("Number", int, float)

_BITS = 53  # of a float's fraction, which frexp gives as a number below 1
_ONE = 1 << _BITS


@dataclass(frozen=True)
class Prices(Generic[Number]):
    """Price of each operator on a side (None: cannot run there) and of each tensor's crossing."""

    mobile: list[Number | None]
    cloud: list[Number | None]
    up: list[Number]
    down: list[Number]
    switch: Number

    def every(self) -> Iterator[Number | None]:
        """All the prices."""
        return chain(self.mobile, self.cloud, self.up, self.down, (self.switch,))


def price(problem: Problem) -> Prices[float]:
    """Seconds (latency) or joules of the mobile (energy) that each choice adds.

    A tensor crosses by the codec that is cheapest for it.
    """
    link = problem.link
    up = [cheapest(problem, tensor, MOBILE)[0] for tensor in problem.tensors]
    down = [cheapest(problem, tensor, CLOUD)[0] for tensor in problem.tensors]
    mobile = [operator.mobile for operator in problem.operators]
    cloud = [operator.cloud for operator in problem.operators]
    if problem.objective == "latency":
        return Prices(
            mobile=[None if cost is None else cost.latency_s for cost in mobile],
            cloud=[None if cost is None else cost.latency_s for cost in cloud],
            up=up,
            down=down,
            switch=link.rtt_s / 2,
        )
    return Prices(
        mobile=[None if cost is None else cost.energy_j for cost in mobile],
        cloud=[None if cost is None else link.idle_w * cost.latency_s for cost in cloud],
        up=up,
        down=down,
        switch=link.idle_w * (link.rtt_s / 2),
    )


def cheapest(problem: Problem, tensor: Tensor, leaves: Side) -> tuple[float, Codec]:
    """The least that a tensor's crossing from a side adds to the objective, and by which codec.

    Among equal ones, the one with the least error, and none rather than any.
    """
    prices = [(_crossing_price(problem, codec, leaves), codec) for codec in tensor.encodings]
    return min(prices, key=lambda choice: (choice[0], choice[1].error))


def _crossing_price(problem: Problem, codec: Codec, leaves: Side) -> float:
    link = problem.link
    upwards = leaves == MOBILE
    seconds = link.upload_s(codec.size_bytes) if upwards else link.download_s(codec.size_bytes)
    if problem.objective == "energy":
        return (link.transmit_w if upwards else link.receive_w) * seconds
    if upwards:
        return fsum((seconds, codec.encode_s.mobile, codec.decode_s.cloud))
    return fsum((seconds, codec.encode_s.cloud, codec.decode_s.mobile))


def in_units(prices: Prices[float], finer: int) -> tuple[Prices[int], int]:
    """The prices in integer units, and how many units make a second or joule.

    Floats are binary fractions: the unit is the last bit of the least price, divided by
    ``finer``, so that nothing is rounded.
    """
    exponents = [frexp(value)[1] for value in prices.every() if value]
    least = min(exponents, default=0)
    least = min(least, _BITS)  # a unit is at most 1

    def exact(value: float) -> int:
        fraction, exponent = frexp(value)
        return (int(fraction * _ONE) << (exponent - least)) * finer if value else 0

    in_integers = Prices(
        mobile=[None if value is None else exact(value) for value in prices.mobile],
        cloud=[None if value is None else exact(value) for value in prices.cloud],
        up=[exact(value) for value in prices.up],
        down=[exact(value) for value in prices.down],
        switch=exact(prices.switch),
    )
    return in_integers, finer << (_BITS - least)
