"""What each codec makes of each tensor of a network, by what real or random inputs show."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jointdnn_tvm.agreement import Judge
from jointdnn_tvm.boundary import InModule
from jointdnn_tvm.codec.channels import is_image
from jointdnn_tvm.codec.quantise import clipped, dequantise, grid_over, quantise
from jointdnn_tvm.codec.registry import CODECS, UNIFORM, decode_tensor, encode_tensor
from jointdnn_tvm.cost.table import Encoding, Encodings
from jointdnn_tvm.encoding_effort import effort_of
from jointdnn_tvm.graph import Tensor
from jointdnn_tvm.host_network import HostNetwork, Sample

Array = np.ndarray[Any, Any]
LOSSY = tuple(name for name, codec in CODECS.items() if not codec.exact)
"""The codecs that lose something, the finest first."""

WORTH = 0.98  # of the bytes that a tensor takes otherwise; a codec that saves less is not offered
SMALLEST_BYTES = 256  # of a tensor that is worth an error


def exact_encodings(host: HostNetwork, samples: Sequence[Sample]) -> Encodings:
    """The exact codecs of every tensor that can cross, where they make it smaller."""
    runs = [host.tensors(sample) for sample in samples]
    found: dict[str, dict[str, Encoding]] = {}
    for tensor in crossing(host):
        arrays = [run[tensor.name] for run in runs]
        sizes = {codec: _median_bytes(codec, None, arrays) for codec in exact_codecs(tensor)}
        found[tensor.name] = {
            codec: Encoding(size, effort=effort_of(codec, arrays[0]))
            for codec, size in sizes.items()
            if size < WORTH * tensor.size_bytes
        }
    return found


def lossy_encodings(
    host: HostNetwork,
    samples: Sequence[Sample],
    budget: float,
    report: Callable[[int, int], None],
) -> Encodings:
    """The other codecs of every tensor, where its loss alone changes the answers within `budget`.

    Each error is that of the network's outputs when all that read the tensor read what the codec
    leaves of it. `report` is told how many tensors are done, of how many.
    """
    runs = [host.tensors(sample) for sample in samples]
    judge = Judge([[run[name] for name in host.graph.outputs] for run in runs])
    tensors = [t for t in crossing(host) if t.dtype == "float32" and t.size_bytes >= SMALLEST_BYTES]
    found: dict[str, dict[str, Encoding]] = {}
    for done, tensor in enumerate(tensors, 1):
        found[tensor.name] = _within(host, judge, runs, tensor, budget)
        report(done, len(tensors))
    return found


def _within(
    host: HostNetwork, judge: Judge, runs: list[dict[str, Array]], tensor: Tensor, budget: float
) -> dict[str, Encoding]:
    """The lossy codecs of one tensor, each smaller than all that lose less."""
    arrays = [run[tensor.name] for run in runs]
    found: dict[str, Encoding] = {}
    smallest: float = tensor.size_bytes
    for codec in LOSSY:
        in_module = calibrated(codec, tensor, arrays)
        if in_module is None and CODECS[codec].encode(np.ascontiguousarray(arrays[0])) is None:
            continue  # it is not for such tensors
        size = _median_bytes(codec, in_module, arrays)
        if size >= WORTH * smallest:
            continue
        left = [{tensor.name: what_is_left(codec, array, in_module)} for array in arrays]
        answers = [host.outputs(run, changed) for run, changed in zip(runs, left, strict=True)]
        error = judge.compare(answers).error
        if error <= budget:
            by_host = (codec, arrays[0])
            if in_module is not None:
                by_host = (in_module.codec, indices_of(arrays[0], in_module))
            found[codec] = Encoding(size, error, in_module, effort_of(*by_host))
            smallest = size
    return found


def calibrated(codec: str, tensor: Tensor, arrays: Sequence[Array]) -> InModule | None:
    """How compiled modules quantise the tensor, by what it is; None where the host does.

    Inputs come from the host, and outputs go there. The indices go by the codec that makes them
    smallest.
    """
    if codec not in UNIFORM or tensor.producer is None or tensor.output:
        return None
    uniform = UNIFORM[codec]
    grid = grid_over(arrays, uniform.axis(tensor.shape), uniform.levels)
    if grid is None:
        return None
    ways = [InModule(grid, uniform.levels, indices) for indices in uniform.of_indices]
    return min(ways, key=lambda way: _median_bytes(codec, way, arrays))


def encoded(codec: str, array: Array, in_module: InModule | None) -> bytes:
    """What crosses of a tensor, quantised by a module or, without one, by the host."""
    if in_module is None:
        return encode_tensor(codec, array)
    return encode_tensor(in_module.codec, indices_of(array, in_module))


def indices_of(array: Array, in_module: InModule) -> Array:
    """What a module makes of a tensor."""
    return quantise(clipped(array, in_module.grid, in_module.levels), in_module.grid)


def what_is_left(codec: str, array: Array, in_module: InModule | None) -> Array:
    """A tensor after it has crossed, quantised by a module or, without one, by the host."""
    arrived = decode_tensor(encoded(codec, array, in_module))
    return arrived if in_module is None else dequantise(arrived, in_module.grid)


def _median_bytes(codec: str, in_module: InModule | None, arrays: Sequence[Array]) -> float:
    return statistics.median(len(encoded(codec, array, in_module)) for array in arrays)


def crossing(host: HostNetwork) -> list[Tensor]:
    """The tensors that can cross the link."""
    return [t for t in host.graph.tensors if t.consumers or (t.output and t.producer)]


def exact_codecs(tensor: Tensor) -> list[str]:
    """The exact codecs for a tensor; where one contains another, that one only."""
    if tensor.dtype != "float32":
        return ["bytes"]
    return ["pixels"] if is_image(tensor.shape) else ["f32"]
