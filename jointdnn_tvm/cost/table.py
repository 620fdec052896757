"""What every group of a network costs on both sides, and the placement problem made of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from jointdnn_tvm.boundary import InModule
from jointdnn_tvm.cost.codec_times import USUAL, CodecTime, Effort, Seconds, codec_times
from jointdnn_tvm.cost.database import Energy, Measurement
from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.errors import CostError
from jointdnn_tvm.graph import (
    Graph,
    Group,
    Placement,
    split_into_stages,
    stage_key,
    whole_network,
)
from jointdnn_tvm.placement import (
    SIDES,
    Codec,
    Limits,
    Link,
    Operator,
    Problem,
    Side,
    SideCost,
    SideSeconds,
    Tensor,
)
from jointdnn_tvm.placement.problem import CLOUD, MOBILE
from jointdnn_tvm.targets import LinkProfile, TargetProfile


@dataclass(frozen=True)
class Encoding:
    """What a codec makes of a tensor: bytes on the link, and the error of the network's outputs.

    Where compiled modules quantise, `in_module` says how, and the host only compresses indices.
    `effort` is that of what the host compresses.
    With `feedback` the sender decodes what it sends, and keeps what is left for the next time.
    """

    size_bytes: float
    error: float = 0.0
    in_module: InModule | None = None
    effort: Effort = USUAL
    feedback: bool = False


Encodings = Mapping[str, Mapping[str, Encoding]]
"""The codecs offered for each tensor, by the names of both."""


@dataclass(frozen=True)
class CostTable:
    """Measurements by group key, for each side, and how many of them were new.

    Where the whole network was measured as one stage, that is among them by its `stage_key`.
    A group that a side cannot build or run has a measurement that says why. `doubts` are sentences
    that say why measurements may not be what a device takes when it is by itself. `transfer` is
    what crossings cost the two devices; where it is None, they take what the link takes. The
    codecs' times are there by `codec_times.codec_workloads`, for a device that has codecs.
    `slowdowns` are those of devices that are emulated.
    """

    mobile: TargetProfile
    cloud: TargetProfile
    on_mobile: Mapping[str, Measurement]
    on_cloud: Mapping[str, Measurement]
    measured: int
    doubts: tuple[str, ...] = ()
    transfer: Transfer | None = None
    codecs_on_mobile: Mapping[str, Measurement] = field(default_factory=dict)
    codecs_on_cloud: Mapping[str, Measurement] = field(default_factory=dict)
    slowdowns: Mapping[Side, float] = field(default_factory=dict)

    def sources(self) -> dict[str, str]:
        """How the numbers were got."""
        return {
            "mobile latency": _source(self.on_mobile),
            "cloud latency": _source(self.on_cloud),
            "mobile energy": self._energy_source(),
            **({"crossings": self.transfer.source} if self.transfer else {}),
            **({"doubts": "; ".join(self.doubts)} if self.doubts else {}),
        }

    def correction(self, graph: Graph, side: Side) -> float:
        """What the whole network takes on a side over the sum of its groups; 1 where not known.

        A group takes that share of its own time, on average, once it runs in a stage.
        """
        measured = self.on_mobile if side == MOBILE else self.on_cloud
        whole = measured.get(stage_key(graph, whole_network(graph)))
        parts_s = [measured[g.key].latency_s for g in graph.groups]
        known_s = [latency_s for latency_s in parts_s if latency_s is not None]
        if whole is None or whole.latency_s is None or len(known_s) < len(parts_s):
            return 1.0
        return whole.latency_s / math.fsum(known_s)

    def missing_stages(self, graph: Graph, placement: Placement, side: Side) -> list[str]:
        """The keys of the stages on that side that were not measured as wholes."""
        measured = self.on_mobile if side == MOBILE else self.on_cloud
        stages = [s for s in split_into_stages(graph, placement) if s.side == side]
        keys = [stage_key(graph, s) for s in stages if len(s.groups) > 1]
        return [key for key in dict.fromkeys(keys) if key not in measured]

    def stage_factors(self, graph: Graph, placement: Placement) -> dict[str, float]:
        """What each group's stage takes as a whole, over what its groups are taken for.

        They are taken for their own times the `correction` of their side. 1 for groups of a stage
        that was not measured or did not run.
        """
        groups = {g.name: g for g in graph.groups}
        factors = dict.fromkeys(groups, 1.0)
        corrections = {side: self.correction(graph, side) for side in SIDES}
        for stage in split_into_stages(graph, placement):
            measured = self.on_mobile if stage.side == MOBILE else self.on_cloud
            parts_s = [measured[groups[name].key].latency_s for name in stage.groups]
            whole = measured.get(stage_key(graph, stage))
            whole_s = whole.latency_s if whole else None
            if len(parts_s) == 1:
                whole_s = parts_s[0]
            if whole_s is not None:
                taken_s = corrections[stage.side] * math.fsum(filter(None, parts_s))
                factor = whole_s / taken_s
                if not math.isclose(factor, 1.0):  # as that of the whole network is
                    factors |= dict.fromkeys(stage.groups, factor)
        return factors

    def stated_stages(self, graph: Graph, placement: Placement) -> dict[str, str]:
        """How many stages were measured as wholes, as one more of `sources`."""
        missing = sum(len(self.missing_stages(graph, placement, side)) for side in SIDES)
        count = len(split_into_stages(graph, placement))
        return {"stages": f"{count - missing} of {count} measured as wholes"} if count > 1 else {}

    def stated_corrections(self, graph: Graph) -> dict[str, str]:
        """The corrections in words, as one more of `sources`; nothing where there is none."""
        found = {side: self.correction(graph, side) for side in SIDES}
        if set(found.values()) == {1.0}:
            return {}
        said = ", ".join(f"{side} {factor:.3f}" for side, factor in found.items())
        return {"correction": f"whole network over the sum of its groups: {said}"}

    @property
    def lacks_codecs(self) -> str | None:
        """The side on which the codecs' times are not known, if there is one."""
        sides = {"mobile": self.codecs_on_mobile, "cloud": self.codecs_on_cloud}
        return next((side for side, times in sides.items() if not times), None)

    @property
    def has_modelled_codecs(self) -> bool:
        """Whether the codecs' times are estimates."""
        times = [*self.codecs_on_mobile.values(), *self.codecs_on_cloud.values()]
        return any(time.source.startswith("model:") for time in times)

    @cached_property
    def idle_w(self) -> float:
        """What the mobile takes while it waits: measured, else the profile's."""
        measured = [e.idle_w for e in self._energies() if e and e.energy_j is not None]
        return statistics.median(measured) if measured else self.mobile.idle_w

    def energy_j(self, measurement: Measurement) -> float:
        """A group's on the mobile, idle power included: measured, else busy power times latency.

        A sensor's figure is what the group takes above the idle device.
        """
        assert measurement.latency_s is not None, "it runs"
        energy = measurement.energy
        if energy is None or energy.energy_j is None:
            return self.mobile.busy_w * measurement.latency_s
        return energy.energy_j + self.idle_w * measurement.latency_s

    def _energies(self) -> list[Energy | None]:
        return [m.energy for m in self.on_mobile.values() if m.latency_s is not None]

    def _energy_source(self) -> str:
        """Every way that an energy was got, and why others were not."""
        sources = {self._one_source(energy) for energy in self._energies()}
        return ", ".join(sorted(sources)) or self.mobile.power_source

    def _one_source(self, energy: Energy | None) -> str:
        if energy is None:
            return self.mobile.power_source
        if energy.energy_j is None:
            return f"{self.mobile.power_source} because {energy.reason}"
        return energy.source


def make_problem(
    graph: Graph,
    costs: CostTable,
    link: LinkProfile,
    objective: str = "latency",
    limits: Limits | None = None,
    encodings: Encodings | None = None,
) -> Problem:
    """Put graph, costs and link together; CostError names a group that runs on neither side.

    Groups cost what was measured, times the `correction` of their side.
    The mobile's energy is that of its groups, of its radio, and its idle power while it waits.
    The problem's link is `link` as crossings find it: what they cost the devices is in its rates
    and its round trip.
    `encodings` are the other ways to send each tensor, for devices whose codecs were timed. What
    compiled modules do of them is modelled: a pass over the tensor at the memory's rate. The
    mobile's energy for a codec is its busy power.
    """
    corrections = {side: costs.correction(graph, side) for side in SIDES}
    offered = encodings or {}
    mobile = _coding(costs.mobile, costs.codecs_on_mobile, costs.slowdowns.get(MOBILE, 1.0))
    cloud = _coding(costs.cloud, costs.codecs_on_cloud, costs.slowdowns.get(CLOUD, 1.0))
    return Problem(
        operators=tuple(_operator(g, costs, corrections) for g in graph.groups),
        tensors=tuple(
            Tensor(
                *(t.name, t.producer, t.consumers, t.size_bytes, t.output),
                codecs=_codecs(t.size_bytes, offered.get(t.name, {}), mobile, cloud),
            )
            for t in graph.tensors
            if t.consumers or (t.output and t.producer)
        ),
        link=_link(costs, link),
        objective=objective,
        limits=limits or Limits(),
    )


def _link(costs: CostTable, profile: LinkProfile) -> Link:
    """The link as crossings find it."""
    link = Link(
        profile.uplink_bps,
        profile.downlink_bps,
        profile.rtt_s,
        profile.transmit_w,
        profile.receive_w,
        costs.idle_w + profile.idle_w,
        profile.tail_j,
    )
    return link if costs.transfer is None else costs.transfer.over(link, costs.mobile.busy_w)


def _operator(group: Group, costs: CostTable, corrections: Mapping[Side, float]) -> Operator:
    mobile, cloud = costs.on_mobile[group.key], costs.on_cloud[group.key]
    if mobile.latency_s is None and cloud.latency_s is None:
        raise CostError(
            f"group {group.name!r} ({', '.join(group.operators)}) runs on neither side: "
            f"mobile: {mobile.reason}; cloud: {cloud.reason}"
        )
    return Operator(
        group.name,
        None
        if mobile.latency_s is None
        else SideCost(
            mobile.latency_s * corrections[MOBILE],
            costs.energy_j(mobile) * corrections[MOBILE],
            group.weight_bytes,
        ),
        None if cloud.latency_s is None else SideCost(cloud.latency_s * corrections[CLOUD]),
    )


_QUANTISE_PASSES = 1 + 1 / 4
"""A module reads or writes each number and its index once: at the memory's rate, at most."""

_FEEDBACK_PASSES = 6
"""A sum and a difference, which read two numbers each and write one."""


@dataclass(frozen=True)
class _Coding:
    """What codecs take on one device."""

    times: Mapping[str, CodecTime]
    pass_s_per_byte: float
    busy_w: float

    def encode_s(self, name: str, encoding: Encoding, size_bytes: int) -> float:
        """Seconds, the compiled module's part included, and what feedback takes."""
        host = self.times[_by_host(name, encoding)].encode
        encode_s = self._seconds(encoding, host, encoding.effort.encode, size_bytes)
        if not encoding.feedback:
            return encode_s
        passes_s = _FEEDBACK_PASSES * self.pass_s_per_byte * size_bytes
        return encode_s + self.decode_s(name, encoding, size_bytes) + passes_s

    def decode_s(self, name: str, encoding: Encoding, size_bytes: int) -> float:
        """Likewise."""
        host = self.times[_by_host(name, encoding)].decode
        return self._seconds(encoding, host, encoding.effort.decode, size_bytes)

    def _seconds(self, encoding: Encoding, host: Seconds, effort: float, size_bytes: int) -> float:
        if encoding.in_module is None:
            return host.at(size_bytes, effort)
        quantise_s = _QUANTISE_PASSES * self.pass_s_per_byte * size_bytes
        return host.at(size_bytes / 4, effort) + quantise_s


def _by_host(name: str, encoding: Encoding) -> str:
    """What the host has to do."""
    return name if encoding.in_module is None else encoding.in_module.codec


def _coding(
    profile: TargetProfile, measurements: Mapping[str, Measurement], slowdown: float
) -> _Coding:
    s_per_byte = slowdown / profile.bandwidth_bytes_per_s
    return _Coding(codec_times(measurements), s_per_byte, profile.busy_w)


def _codecs(
    size_bytes: int,
    encodings: Mapping[str, Encoding],
    mobile: _Coding,
    cloud: _Coding,
) -> tuple[Codec, ...]:
    """What the codecs of a tensor of that size take and give, of those that both sides have."""
    codecs = []
    for name, encoding in encodings.items():
        by_host = _by_host(name, encoding)
        if by_host not in mobile.times or by_host not in cloud.times:
            continue
        encode_s = SideSeconds(*(s.encode_s(name, encoding, size_bytes) for s in (mobile, cloud)))
        decode_s = SideSeconds(*(s.decode_s(name, encoding, size_bytes) for s in (mobile, cloud)))
        joules = mobile.busy_w * encode_s.mobile, mobile.busy_w * decode_s.mobile
        codecs.append(Codec(name, encoding.size_bytes, encode_s, decode_s, encoding.error, *joules))
    return tuple(codecs)


def _source(measurements: Mapping[str, Measurement]) -> str:
    return ", ".join(sorted({m.source for m in measurements.values() if m.latency_s is not None}))
