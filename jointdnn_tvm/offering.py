"""The codecs that a plan may choose from: `offer_codecs`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jointdnn_tvm.cost.table import CostTable, Encodings
from jointdnn_tvm.encodings import exact_encodings
from jointdnn_tvm.errors import CodecError, LinkError
from jointdnn_tvm.host_network import HostNetwork
from jointdnn_tvm.network import Network
from jointdnn_tvm.samples import random_sample, read_samples

CHOICES = ("none", "lossless")
"""What `codecs` may be: tensors cross as they are, or by codecs that give every bit back."""

_MOST_SAMPLES = 8  # whose sizes are looked at


@dataclass(frozen=True)
class Offer:
    """Other ways to send each tensor, and how their sizes were got or why there are none."""

    encodings: Encodings = field(default_factory=dict)
    source: str = "none"


def offer_codecs(
    network: Network,
    costs: CostTable,
    codecs: str = "lossless",
    calibrate: str | Path | None = None,
) -> Offer:
    """Run the network on this machine to see how small each tensor gets.

    `codecs` is one of `CHOICES`, `calibrate` a file or folder of inputs for `samples.read_samples`;
    without it the input is noise. CodecError for another choice.
    """
    if codecs not in CHOICES:
        raise CodecError(f"there are no codecs {codecs!r}; choose {' or '.join(CHOICES)}")
    if codecs == "none":
        return Offer()
    side = costs.lacks_codecs
    if side is not None:
        return Offer(source=f"none: codecs were not timed on the {side} device")
    samples = read_samples(calibrate, network) if calibrate else random_sample(network)
    try:
        host = HostNetwork(network)
    except LinkError as error:
        return Offer(source=f"none: {error}")
    return Offer(
        exact_encodings(host, samples.inputs[:_MOST_SAMPLES]),
        f"{codecs}, sizes measured:{samples.source}",
    )
