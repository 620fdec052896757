"""What each codec makes of each tensor of a network, by what real or random inputs show."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from jointdnn_tvm.codec.channels import is_image
from jointdnn_tvm.codec.registry import encode_tensor
from jointdnn_tvm.cost.table import Encoding, Encodings
from jointdnn_tvm.graph import Tensor
from jointdnn_tvm.host_network import HostNetwork, Sample

_WORTH = 0.98  # of a tensor's own size; a codec that saves less is not offered


def exact_encodings(host: HostNetwork, samples: Sequence[Sample]) -> Encodings:
    """The exact codecs of every tensor that can cross, where they make it smaller."""
    sizes: dict[str, dict[str, list[int]]] = {}
    for sample in samples:
        tensors = host.tensors(sample)
        for tensor in crossing(host):
            found = sizes.setdefault(tensor.name, {})
            for codec in exact_codecs(tensor):
                size = len(encode_tensor(codec, tensors[tensor.name]))
                found.setdefault(codec, []).append(size)
    whole = {t.name: t.size_bytes for t in host.graph.tensors}
    return {
        name: {
            codec: Encoding(statistics.median(measured))
            for codec, measured in found.items()
            if statistics.median(measured) < _WORTH * whole[name]
        }
        for name, found in sizes.items()
    }


def crossing(host: HostNetwork) -> list[Tensor]:
    """The tensors that can cross the link."""
    return [t for t in host.graph.tensors if t.consumers or (t.output and t.producer)]


def exact_codecs(tensor: Tensor) -> list[str]:
    """The exact codecs for a tensor; where one contains another, that one only."""
    if tensor.dtype != "float32":
        return ["bytes"]
    return ["pixels"] if tensor.producer is None and is_image(tensor.shape) else ["f32"]
