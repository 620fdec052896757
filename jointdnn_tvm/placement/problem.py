"""The placement problem as plain data, and its checks.

``Problem.from_json`` reads the file format ``jointdnn-problem/1`` (see `problem_json`). A problem
that exists is well formed: building one checks it and raises `ProblemError` naming what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

Side = Literal["mobile", "cloud"]
MOBILE: Side = "mobile"
CLOUD: Side = "cloud"
SIDES: tuple[Side, ...] = get_args(Side)
OBJECTIVES = ("latency", "energy", "throughput")
OUTPUTS_ON = ("mobile", "any")
PLAIN = "none"
"""The codec that every tensor has: its own bytes, at no cost and no error."""


@dataclass(frozen=True)
class SideCost:
    """What one operator costs on one side: seconds, joules of the mobile, resident bytes.

    ``spread_s`` is the standard deviation of its latency, 0 where it is not known.
    """

    latency_s: float
    energy_j: float = 0.0
    memory_bytes: float = 0
    spread_s: float = 0.0


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
class SideSeconds:
    """Seconds that the same work takes on each side."""

    mobile: float = 0.0
    cloud: float = 0.0


@dataclass(frozen=True)
class Codec:
    """One way to encode a tensor that crosses: its bytes on the link, and what it adds.

    ``encode_j`` and ``decode_j`` are what the mobile takes for it, where it does that. ``error`` is
    in a unit of the problem's own; errors of the codecs used add up.
    """

    name: str
    size_bytes: float
    encode_s: SideSeconds = SideSeconds()
    decode_s: SideSeconds = SideSeconds()
    error: float = 0.0
    encode_j: float = 0.0
    decode_j: float = 0.0


@dataclass(frozen=True)
class Tensor:
    """A value between operators; without a producer it is an input and starts on the mobile.

    What is ``carried`` is made in one run of the operators for the next, such as a weight that is
    trained. Its producer makes the new value; its consumers, which may stand before the producer,
    read the present one. It lives on the producer's side, its home.
    """

    name: str
    producer: str | None
    consumers: tuple[str, ...]
    size_bytes: float
    output: bool = False
    codecs: tuple[Codec, ...] = ()
    carried: bool = False

    @property
    def encodings(self) -> tuple[Codec, ...]:
        """Every way to send it; the first is `PLAIN`."""
        return (Codec(PLAIN, self.size_bytes), *self.codecs)

    def encoding(self, name: str) -> Codec:
        """The encoding of that name; KeyError when it has none."""
        for codec in self.encodings:
            if codec.name == name:
                return codec
        raise KeyError(name)


@dataclass(frozen=True)
class Link:
    """Rates in bit/s, round-trip time in s, the mobile's radio power in W.

    ``tail_j`` is what the radio takes after a visit to the cloud, until it rests; each of the two
    switches of the visit has half.
    """

    uplink_bps: float
    downlink_bps: float
    rtt_s: float = 0.0
    transmit_w: float = 0.0
    receive_w: float = 0.0
    idle_w: float = 0.0
    tail_j: float = 0.0

    def upload_s(self, size_bytes: float) -> float:
        """Seconds that the uplink is busy with so many bytes."""
        return 8 * size_bytes / self.uplink_bps

    def download_s(self, size_bytes: float) -> float:
        """Seconds that the downlink is busy with so many bytes."""
        return 8 * size_bytes / self.downlink_bps


@dataclass(frozen=True)
class Limits:
    """What a placement may take of each resource; None is no limit.

    The deadline holds for the mean latency plus ``latency_sigmas`` standard deviations.
    ``max_mobile_bytes`` bounds the resident bytes of the mobile's operators and of what is carried
    there, of which the present value and the new one have each their own; and
    ``max_mobile_peak_bytes`` these and the tensors that the mobile holds at the same time.
    """

    max_latency_s: float | None = None
    max_energy_j: float | None = None
    max_cloud_s: float | None = None
    max_mobile_bytes: float | None = None
    max_mobile_peak_bytes: float | None = None
    max_error: float | None = None
    latency_sigmas: float = 0.0

    @property
    def active(self) -> dict[str, float]:
        """The limits that are set, by name."""
        names = (name for name in vars(self) if name != "latency_sigmas")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True)
class Block:
    """What a chain's operators first..last take as one run: less, or more, than their sum."""

    side: Side
    first: str
    last: str
    latency_s: float


@dataclass(frozen=True)
class Problem:
    """Which side should each operator run on; operators are listed in execution order."""

    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    link: Link
    objective: str = "latency"
    outputs_on: str = "mobile"
    limits: Limits = Limits()
    blocks: tuple[Block, ...] = ()

    def __post_init__(self) -> None:
        """Check the problem; raises `ProblemError`."""
        from jointdnn_tvm.placement.check_problem import check_problem

        check_problem(self)

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """The place of each operator in the execution order, by name."""
        return {operator.name: index for index, operator in enumerate(self.operators)}

    @property
    def is_chain(self) -> bool:
        """Whether each operator reads the one before it and nothing else, but what it carries."""
        order = self.positions
        return all(
            name == tensor.producer
            if tensor.carried
            else order[name] == (0 if tensor.producer is None else order[tensor.producer] + 1)
            for tensor in self.tensors
            for name in tensor.consumers
        )

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
