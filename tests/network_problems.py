"""Placement problems on the graphs of real networks, with costs that are modelled.

No kernel is built and nothing is measured: a group's latency follows the bytes that it reads and
writes, times a seeded random factor. Graphs, sizes and links are the real ones.
"""

from __future__ import annotations

import functools
import random
from pathlib import Path

import onnx

from jointdnn_tvm.graph import Graph, Group
from jointdnn_tvm.network import load_network
from jointdnn_tvm.placement import Codec, Link, Operator, Problem, SideCost, SideSeconds, Tensor
from jointdnn_tvm.targets import LinkProfile

_MOBILE_BYTES_PER_S, _CLOUD_BYTES_PER_S = 1e9, 3e9  # touched by operators, computing included
_CODEC_BYTES_PER_S = SideSeconds(1e9, 1e10)
_BUSY_W, _IDLE_W = 3.0, 0.5


@functools.cache
def light_graph(name: str) -> Graph:
    """The group graph of an architecture of the `onnx` package."""
    return load_network(
        Path(onnx.__file__).parent / f"backend/test/data/light/light_{name}.onnx"
    ).graph


def modelled_problem(
    graph: Graph, link: LinkProfile, objective: str, seed: int, *, codecs: bool = False
) -> Problem:
    """The graph on a link; with ``codecs`` a tensor may cross in a quarter of its bytes."""
    rng = random.Random(seed)
    sizes = {tensor.name: tensor.size_bytes for tensor in graph.tensors}

    def operator(group: Group) -> Operator:
        touched = group.weight_bytes + sum(sizes[n] for n in (*group.inputs, *group.outputs))
        mobile_s = touched / _MOBILE_BYTES_PER_S * 10 ** rng.uniform(-1, 1)
        cloud_s = touched / _CLOUD_BYTES_PER_S * 10 ** rng.uniform(-1, 1)
        on_mobile = SideCost(mobile_s, _BUSY_W * mobile_s, group.weight_bytes)
        return Operator(group.name, on_mobile, SideCost(cloud_s))

    def quarter(size_bytes: int) -> Codec:
        seconds = SideSeconds(
            size_bytes / _CODEC_BYTES_PER_S.mobile, size_bytes / _CODEC_BYTES_PER_S.cloud
        )
        return Codec("u8", size_bytes / 4, seconds, seconds, error=0.01)

    return Problem(
        operators=tuple(map(operator, graph.groups)),
        tensors=tuple(
            Tensor(
                t.name,
                t.producer,
                t.consumers,
                t.size_bytes,
                t.output,
                (quarter(t.size_bytes),) if codecs else (),
            )
            for t in graph.tensors
            if t.consumers or (t.output and t.producer)
        ),
        link=Link(
            link.uplink_bps,
            link.downlink_bps,
            link.rtt_s,
            link.transmit_w,
            link.receive_w,
            _IDLE_W,
        ),
        objective=objective,
    )
