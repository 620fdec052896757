"""The placement problem as plain data, and its checks.

``Problem.from_json`` reads the file format ``jointdnn-problem/1`` (see `problem_json`). A problem
that exists is well formed: building one checks it and raises `ProblemError` naming what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from jointdnn_tvm.errors import ProblemError

Side = Literal["mobile", "cloud"]
MOBILE: Side = "mobile"
CLOUD: Side = "cloud"
SIDES: tuple[Side, ...] = get_args(Side)
OBJECTIVES = ("latency", "energy")
OUTPUTS_ON = ("mobile", "any")
LARGEST = 1e100  # sums and products of a problem's numbers stay finite


@dataclass(frozen=True)
class SideCost:
    """What one operator costs on one side: seconds, joules of the mobile, resident bytes."""

    latency_s: float
    energy_j: float = 0.0
    memory_bytes: float = 0


@dataclass(frozen=True)
class Operator:
    """A unit of placement; a side that is None cannot run it."""

    name: str
    mobile: SideCost | None
    cloud: SideCost | None

    def cost(self, side: Side) -> SideCost | None:
        """The operator's cost on a side, or None where it cannot run."""
        return self.mobile if side == MOBILE else self.cloud


@dataclass(frozen=True)
class Tensor:
    """A value between operators; without a producer it is an input and starts on the mobile."""

    name: str
    producer: str | None
    consumers: tuple[str, ...]
    size_bytes: float
    output: bool = False


@dataclass(frozen=True)
class Link:
    """Rates in bit/s, round-trip time in s, the mobile's radio power in W."""

    uplink_bps: float
    downlink_bps: float
    rtt_s: float = 0.0
    transmit_w: float = 0.0
    receive_w: float = 0.0
    idle_w: float = 0.0

    def upload_s(self, size_bytes: float) -> float:
        """Seconds that the uplink is busy with so many bytes."""
        return 8 * size_bytes / self.uplink_bps

    def download_s(self, size_bytes: float) -> float:
        """Seconds that the downlink is busy with so many bytes."""
        return 8 * size_bytes / self.downlink_bps


@dataclass(frozen=True)
class Problem:
    """Which side should each operator run on; operators are listed in execution order."""

    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    link: Link
    objective: str = "latency"
    outputs_on: str = "mobile"
    _positions: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the problem; raises `ProblemError`."""
        positions = {operator.name: index for index, operator in enumerate(self.operators)}
        object.__setattr__(self, "_positions", positions)
        _check_choice("objective", self.objective, OBJECTIVES)
        _check_choice("outputs_on", self.outputs_on, OUTPUTS_ON)
        _check_link(self.link)
        _check_operators(self.operators)
        _check_tensors(self.tensors, positions)

    @property
    def positions(self) -> Mapping[str, int]:
        """The place of each operator in the execution order, by name."""
        return self._positions

    @property
    def starts_on_mobile(self) -> bool:
        """Whether execution starts on the mobile: it does when the network has inputs."""
        return any(tensor.producer is None for tensor in self.tensors)

    @property
    def ends_on_mobile(self) -> bool:
        """Whether execution must end on the mobile."""
        return self.outputs_on == MOBILE

    @staticmethod
    def from_json(document: object) -> Problem:
        """Read a parsed problem file; raises `ProblemError` on anything that does not fit."""
        from jointdnn_tvm.placement.problem_json import read_problem

        return read_problem(document)

    def to_json(self) -> dict[str, Any]:
        """The problem as a ``jointdnn-problem/1`` document."""
        from jointdnn_tvm.placement.problem_json import write_problem

        return write_problem(self)


def check_sides(problem: Problem, placement: Mapping[str, str]) -> dict[str, Side]:
    """A placement of every operator on a side that can run it; raises `ProblemError` if not."""
    unknown = [name for name in placement if name not in problem.positions]
    if unknown:
        raise ProblemError(
            f"placement names operator {unknown[0]!r}, which the problem lacks: remove it"
        )
    return {operator.name: _check_side(operator, placement) for operator in problem.operators}


def _check_side(operator: Operator, placement: Mapping[str, str]) -> Side:
    if operator.name not in placement:
        raise ProblemError(f"placement has no side for operator {operator.name!r}: add it")
    wanted = placement[operator.name]
    for side in SIDES:
        if wanted == side:
            if operator.cost(side) is None:
                raise ProblemError(f"operator {operator.name!r} cannot run on the {side} side")
            return side
    raise ProblemError(
        f"placement puts operator {operator.name!r} on {wanted!r}: use 'mobile' or 'cloud'"
    )


def check_number(where: str, value: object, *, positive: bool = False) -> float:
    """A finite number from 0 (or above it, when ``positive``) to `LARGEST`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProblemError(f"{where} must be a number, not {_shown(value)}")
    if not 0 <= value <= LARGEST:  # NaN fails every comparison
        raise ProblemError(f"{where} is {_shown(value)}: use a finite number of 0 or more")
    if positive and value < 1 / LARGEST:
        raise ProblemError(f"{where} is {_shown(value)}: a rate must be above 0 (1e-100 at least)")
    return value


def _check_choice(field_name: str, value: object, choices: tuple[str, ...]) -> None:
    if value in choices:
        return
    if field_name == "objective" and value == "throughput":
        raise ProblemError("objective 'throughput' is not supported yet: use latency or energy")
    raise ProblemError(f"{field_name} is {_shown(value)}: use {' or '.join(choices)}")


def _check_link(link: Link) -> None:
    check_number("link: uplink_bps", link.uplink_bps, positive=True)
    check_number("link: downlink_bps", link.downlink_bps, positive=True)
    for name in ("rtt_s", "transmit_w", "receive_w", "idle_w"):
        check_number(f"link: {name}", getattr(link, name))


def _check_operators(operators: tuple[Operator, ...]) -> None:
    if not operators:
        raise ProblemError("operators is empty: list at least one operator")
    _check_names("operator", (operator.name for operator in operators))
    for operator in operators:
        if operator.mobile is None and operator.cloud is None:
            raise ProblemError(
                f"operator {operator.name!r} can run nowhere: give it a mobile or a cloud cost"
            )
        for side in SIDES:
            cost = operator.cost(side)
            if cost is not None:
                where = f"operator {operator.name!r}: {side}."
                check_number(where + "latency_s", cost.latency_s)
                check_number(where + "energy_j", cost.energy_j)
                check_number(where + "memory_bytes", cost.memory_bytes)


def _check_tensors(tensors: tuple[Tensor, ...], positions: Mapping[str, int]) -> None:
    _check_names("tensor", (tensor.name for tensor in tensors))
    for tensor in tensors:
        where = f"tensor {tensor.name!r}"
        check_number(f"{where}: size_bytes", tensor.size_bytes)
        for name in (tensor.producer, *tensor.consumers):
            if name is not None and name not in positions:
                raise ProblemError(f"{where} names operator {name!r}, which is not in operators")
        if tensor.producer is None:
            if not tensor.consumers and not tensor.output:
                raise ProblemError(f"{where} has no producer and no consumers: remove it")
            continue
        for name in tensor.consumers:
            if positions[name] <= positions[tensor.producer]:
                raise ProblemError(
                    f"{where}: consumer {name!r} is not later than producer {tensor.producer!r}; "
                    "list operators in execution order, without cycles"
                )


def _check_names(what: str, names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise ProblemError(f"{what} name {name!r} is used twice: names must be unique")
        seen.add(name)


def _shown(value: object) -> str:
    """A value in an error line: short, and never a failure of its own."""
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "infinite", -math.inf: "minus infinite"}.get(value, "NaN")
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number above 1e100" if value > 0 else "a number below -1e100"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
