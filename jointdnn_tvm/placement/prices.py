"""An objective as prices: what each choice adds to it, as floats and as exact integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from math import fsum
from operator import attrgetter
from typing import Generic, TypeVar

import numpy as np

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
    up, down = _least_prices(problem, MOBILE), _least_prices(problem, CLOUD)
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
        switch=fsum((link.idle_w * (link.rtt_s / 2), link.tail_j / 2)),
    )


def cheapest(problem: Problem, tensor: Tensor, leaves: Side) -> tuple[float, Codec]:
    """The least that a tensor's crossing from a side adds to the objective, and by which codec.

    Among equal ones, the one with the least error, and none rather than any.
    """
    crossing_price = _crossing_price(problem, leaves)
    prices = [(crossing_price(codec), codec) for codec in tensor.encodings]
    return min(prices, key=lambda choice: (choice[0], choice[1].error))


def _least_prices(problem: Problem, leaves: Side) -> list[float]:
    """The least that each tensor's crossing from a side adds to the objective."""
    crossing_price, tensors = _crossing_price(problem, leaves), problem.tensors
    prices = list(map(_plain_price(problem, leaves), [tensor.size_bytes for tensor in tensors]))
    for index, tensor in enumerate(tensors):
        if tensor.codecs:
            prices[index] = min(map(crossing_price, tensor.encodings))
    return prices


def _plain_price(problem: Problem, leaves: Side) -> Callable[[float], float]:
    """What so many bytes add to the objective without a codec."""
    link, upwards = problem.link, leaves == MOBILE
    seconds = link.upload_s if upwards else link.download_s
    if problem.objective == "latency":
        return seconds
    power_w = link.transmit_w if upwards else link.receive_w
    return lambda size_bytes: power_w * seconds(size_bytes)


def _crossing_price(problem: Problem, leaves: Side) -> Callable[[Codec], float]:
    """What a crossing from a side adds to the objective, by its codec."""
    upwards, plain = leaves == MOBILE, _plain_price(problem, leaves)
    if problem.objective == "energy":
        joules = attrgetter("encode_j" if upwards else "decode_j")
        return lambda codec: fsum((plain(codec.size_bytes), joules(codec)))

    def latency_s(codec: Codec) -> float:
        encode, decode = codec.encode_s, codec.decode_s
        codec_s = (encode.mobile, decode.cloud) if upwards else (encode.cloud, decode.mobile)
        return fsum((plain(codec.size_bytes), *codec_s))

    return latency_s


def in_units(prices: Prices[float], finer: int) -> tuple[Prices[int], int]:
    """The prices in integer units, and how many units make a second or joule.

    Floats are binary fractions: the unit is the last bit of the least price, divided by
    ``finer``, so that nothing is rounded.
    """
    # A zero has no last bit.
    fractions, exponents = np.frexp(np.array([value or 0.0 for value in prices.every()]))
    some = fractions > 0
    least = int(exponents.min(where=some, initial=_BITS))  # a unit is at most 1
    mantissas = (fractions * _ONE).astype(np.int64).tolist()
    shifts = np.where(some, exponents - least, 0).tolist()
    exact = ((whole << shift) * finer for whole, shift in zip(mantissas, shifts, strict=True))
    in_integers = Prices(
        mobile=_as_known(prices.mobile, exact),
        cloud=_as_known(prices.cloud, exact),
        up=list(islice(exact, len(prices.up))),
        down=list(islice(exact, len(prices.down))),
        switch=next(exact),
    )
    return in_integers, finer << (_BITS - least)


def _as_known(prices: list[float | None], exact: Iterator[int]) -> list[int | None]:
    """The next numbers, None where the price is."""
    return [None if old is None else new for old, new in zip(prices, exact, strict=False)]
