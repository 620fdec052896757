"""How small exact codecs make the tensors of a network."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.agreement import Judge
from jointdnn_tvm.codec.registry import decode_tensor, encode_tensor
from jointdnn_tvm.cost.table import Encoding
from jointdnn_tvm.encodings import LOSSY, crossing, exact_codecs, exact_encodings, lossy_encodings
from jointdnn_tvm.graph import Tensor
from jointdnn_tvm.host_network import HostNetwork
from jointdnn_tvm.network import Network
from jointdnn_tvm.samples import random_sample


@pytest.fixture(scope="module")
def host(branching: Network) -> HostNetwork:
    return HostNetwork(branching)


def test_sizes_are_those_of_frames(host: HostNetwork, branching: Network) -> None:
    (sample,) = random_sample(branching).inputs
    found = exact_encodings(host, [sample])
    tensors = host.tensors(sample)
    offered = 0
    for tensor in crossing(host):
        frames = {c: len(encode_tensor(c, tensors[tensor.name])) for c in exact_codecs(tensor)}
        pays = {c: size for c, size in frames.items() if size < 0.98 * tensor.size_bytes}
        assert {c: e.size_bytes for c, e in found[tensor.name].items()} == pays
        assert all(e.error == 0 for e in found[tensor.name].values())
        offered += len(pays)
    assert offered


def test_median_of_the_samples(host: HostNetwork, branching: Network) -> None:
    (sample,) = random_sample(branching).inputs
    image, bias = branching.graph.inputs
    blank = {image: np.zeros_like(sample[image]), bias: sample[bias]}
    sizes = [
        exact_encodings(host, samples)[image]["pixels"].size_bytes
        for samples in ([blank], [blank, sample, blank])
    ]
    assert sizes[0] == sizes[1] < sample[image].nbytes / 5


def test_lossy_codecs_and_the_error_of_each(host: HostNetwork, branching: Network) -> None:
    samples = [random_sample(branching, seed).inputs[0] for seed in range(3)]
    told: list[tuple[int, int]] = []
    found = lossy_encodings(host, samples, 0.2, lambda done, total: told.append((done, total)))
    assert told == [(i + 1, len(found)) for i in range(len(found))]
    assert LOSSY == ("f16", "u8", "u8-tensor", "u6", "u4")
    runs = [host.tensors(sample) for sample in samples]
    judge = Judge([[run[n] for n in branching.graph.outputs] for run in runs])
    for name, codecs in found.items():
        sizes = [encoding.size_bytes for encoding in codecs.values()]
        assert sizes == sorted(sizes, reverse=True)
        for codec, encoding in codecs.items():
            frames = [encode_tensor(codec, run[name]) for run in runs]
            changed = [{name: decode_tensor(frame)} for frame in frames]
            answers = [host.outputs(run, c) for run, c in zip(runs, changed, strict=True)]
            assert encoding == Encoding(sorted(map(len, frames))[1], judge.compare(answers).error)
            assert encoding.error <= 0.2
    strict = lossy_encodings(host, samples, 0.001, lambda done, total: None)
    assert sum(map(len, strict.values())) < sum(map(len, found.values()))


@pytest.mark.parametrize(
    ("shape", "dtype", "producer", "codecs"),
    [
        ((1, 3, 32, 32), "float32", None, ["pixels"]),
        ((1, 3, 32, 32), "float32", "conv", ["f32"]),
        ((1, 99), "float32", None, ["f32"]),
        ((1, 3, 32, 32), "uint8", None, ["bytes"]),
        ((7,), "int64", "argmax", ["bytes"]),
    ],
)
def test_codecs_by_what_a_tensor_is(
    shape: tuple[int, ...], dtype: str, producer: str | None, codecs: list[str]
) -> None:
    assert exact_codecs(Tensor("t", shape, dtype, producer, ())) == codecs
