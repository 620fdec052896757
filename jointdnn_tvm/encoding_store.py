"""What exact codecs make of a network's tensors, kept: the network runs for it once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from jointdnn_tvm import codec
from jointdnn_tvm.cost.codec_times import Effort
from jointdnn_tvm.cost.table import Encoding, Encodings
from jointdnn_tvm.host_network import Sample
from jointdnn_tvm.kernel_store import open_kernel_store
from jointdnn_tvm.network import Network


def kept_encodings(
    network: Network, samples: Sequence[Sample], find: Callable[[], Encodings]
) -> Encodings:
    """What `find` found for this network, its weights and these samples, now or earlier."""
    key = f"encodings_{_digest(network, samples)}"
    with open_kernel_store() as store:
        path = store.get(key)
        if path is None:
            path = store.put(key, lambda place: _write(Path(place), find()))
        kept = json.loads(path.read_bytes())
    return {
        tensor: {
            name: Encoding(size_bytes, effort=Effort(*effort))
            for name, (size_bytes, *effort) in codecs.items()
        }
        for tensor, codecs in kept.items()
    }


def _write(place: Path, encodings: Encodings) -> None:
    kept = {
        tensor: {
            name: [encoding.size_bytes, encoding.effort.encode, encoding.effort.decode]
            for name, encoding in codecs.items()
        }
        for tensor, codecs in encodings.items()
    }
    place.write_text(json.dumps(kept))


def _digest(network: Network, samples: Sequence[Sample]) -> str:
    """Of all that the tensors and the codecs depend on, but for the last bits of kernels."""
    graph = network.graph
    parts = [(g.key, g.name, g.inputs, g.outputs, g.weights) for g in graph.groups]
    digest = hashlib.sha256(f"{_codecs_digest()} {parts}".encode())
    for arrays in (network.weights, *samples):
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:32]


@cache
def _codecs_digest() -> str:
    """Hash of the code of the codecs."""
    digest = hashlib.sha256()
    for path in sorted(Path(codec.__path__[0]).glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
