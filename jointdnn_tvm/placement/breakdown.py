"""Where a placement's time and the mobile's energy go, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum

from jointdnn_tvm.placement.evaluate import evaluate, run_seconds
from jointdnn_tvm.placement.problem import CLOUD, MOBILE, PLAIN, Problem, Side, Tensor

RESOURCES = {
    "mobile": ("mobile", "mobile_codecs"),
    "uplink": ("uplink",),
    "cloud": ("cloud", "cloud_codecs"),
    "downlink": ("downlink",),
}
"""What a stream of queries keeps busy, and the parts of a query that do."""


@dataclass(frozen=True)
class Part:
    """What one part adds to a query: seconds, and joules of the mobile."""

    latency_s: float
    energy_j: float


@dataclass(frozen=True)
class Crossing:
    """A tensor that crosses the link, and what that adds: seconds, and joules of the mobile.

    Of the joules, `codec_j` are for the codec.
    """

    tensor: str
    direction: str
    codec: str
    size_bytes: float
    link_s: float
    mobile_codec_s: float
    cloud_codec_s: float
    energy_j: float
    codec_j: float

    @property
    def latency_s(self) -> float:
        """Seconds on the link and in the codec."""
        return fsum((self.link_s, self.mobile_codec_s, self.cloud_codec_s))


def crossings(
    problem: Problem, placement: Mapping[str, Side], codecs: Mapping[str, str]
) -> tuple[Crossing, ...]:
    """The tensors that cross, those that go up first."""
    metrics = evaluate(problem, placement, codecs)
    tensors = {tensor.name: tensor for tensor in problem.tensors}
    up = (_crossing(problem, tensors[name], MOBILE, codecs) for name in metrics.up)
    down = (_crossing(problem, tensors[name], CLOUD, codecs) for name in metrics.down)
    return (*up, *down)


def breakdown(
    problem: Problem, placement: Mapping[str, Side], codecs: Mapping[str, str]
) -> dict[str, Part]:
    """The parts of a query: together they are its latency, and the mobile's energy for it.

    The radio's tail belongs to the round trips.
    """
    link = problem.link
    metrics = evaluate(problem, placement, codecs)
    crossing = crossings(problem, placement, codecs)
    up = [c for c in crossing if c.direction == "up"]
    down = [c for c in crossing if c.direction == "down"]
    on_mobile = [o.mobile for o in problem.operators if placement[o.name] == MOBILE and o.mobile]
    mobile_s = fsum(run_seconds(problem, placement, MOBILE))
    round_trips_s = metrics.switches * link.rtt_s / 2
    return {
        "mobile": Part(mobile_s, fsum(cost.energy_j for cost in on_mobile)),
        "mobile_codecs": Part(
            fsum(c.mobile_codec_s for c in crossing), fsum(c.codec_j for c in crossing)
        ),
        "uplink": Part(fsum(c.link_s for c in up), fsum(c.energy_j - c.codec_j for c in up)),
        "cloud": Part(metrics.cloud_s, link.idle_w * metrics.cloud_s),
        "cloud_codecs": Part(fsum(c.cloud_codec_s for c in crossing), 0.0),
        "downlink": Part(fsum(c.link_s for c in down), fsum(c.energy_j - c.codec_j for c in down)),
        "round_trips": Part(
            round_trips_s, link.idle_w * round_trips_s + metrics.switches * link.tail_j / 2
        ),
    }


def busy_seconds(parts: Mapping[str, Part]) -> dict[str, float]:
    """How long a query keeps each resource busy; the longest is the bottleneck of a stream."""
    return {
        name: fsum(parts[part].latency_s for part in among) for name, among in RESOURCES.items()
    }


def _crossing(
    problem: Problem, tensor: Tensor, leaves: Side, codecs: Mapping[str, str]
) -> Crossing:
    link, codec = problem.link, tensor.encoding(codecs.get(tensor.name, PLAIN))
    up = leaves == MOBILE
    link_s = link.upload_s(codec.size_bytes) if up else link.download_s(codec.size_bytes)
    codec_j = codec.encode_j if up else codec.decode_j
    return Crossing(
        tensor=tensor.name,
        direction="up" if up else "down",
        codec=codec.name,
        size_bytes=codec.size_bytes,
        link_s=link_s,
        mobile_codec_s=codec.encode_s.mobile if up else codec.decode_s.mobile,
        cloud_codec_s=codec.decode_s.cloud if up else codec.encode_s.cloud,
        energy_j=(link.transmit_w if up else link.receive_w) * link_s + codec_j,
        codec_j=codec_j,
    )
