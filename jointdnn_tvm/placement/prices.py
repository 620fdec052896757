"""An objective as prices: what each choice adds to it, as floats and as exact integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

from jointdnn_tvm.placement.problem import Problem

Number = TypeVar("Number", int, float)


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
    """Seconds (latency) or joules of the mobile (energy) that each choice adds."""
    link = problem.link
    up = [link.upload_s(tensor.size_bytes) for tensor in problem.tensors]
    down = [link.download_s(tensor.size_bytes) for tensor in problem.tensors]
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
        up=[link.transmit_w * seconds for seconds in up],
        down=[link.receive_w * seconds for seconds in down],
        switch=link.idle_w * (link.rtt_s / 2),
    )


def common_denominator(prices: Prices[float]) -> int:
    """The power of two that makes every price an integer: floats are binary fractions."""
    return max(value.as_integer_ratio()[1] for value in prices.every() if value is not None)


def in_units(prices: Prices[float], units: int) -> Prices[int]:
    """The prices in integer units, ``units`` of them to the second or joule; nothing is rounded."""

    def exact(value: float) -> int:
        numerator, denominator = value.as_integer_ratio()
        return numerator * (units // denominator)

    return Prices(
        mobile=[None if value is None else exact(value) for value in prices.mobile],
        cloud=[None if value is None else exact(value) for value in prices.cloud],
        up=[exact(value) for value in prices.up],
        down=[exact(value) for value in prices.down],
        switch=exact(prices.switch),
    )
