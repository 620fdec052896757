"""How small exact codecs make the tensors of a network."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.agreement import Judge
from jointdnn_tvm.codec.registry import UNIFORM, decode_tensor, encode_tensor
from jointdnn_tvm.encodings import (
    LOSSY,
    calibrated,
    crossing,
    encoded,
    exact_codecs,
    exact_encodings,
    lossy_encodings,
    what_is_left,
)
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
    assert LOSSY == ("f16", "u8", "u8-tensor", "u6", "u4", "jpeg")
    runs = [host.tensors(sample) for sample in samples]
    judge = Judge([[run[n] for n in branching.graph.outputs] for run in runs])
    for name, codecs in found.items():
        sizes = [encoding.size_bytes for encoding in codecs.values()]
        assert sizes == sorted(sizes, reverse=True)
        for codec, encoding in codecs.items():
            inside = branching.graph.tensor(name)
            by_module = codec in UNIFORM and bool(inside.producer) and not inside.output
            assert (encoding.in_module is not None) == by_module
            frames = [encoded(codec, run[name], encoding.in_module) for run in runs]
            changed = [{name: what_is_left(codec, run[name], encoding.in_module)} for run in runs]
            answers = [host.outputs(run, c) for run, c in zip(runs, changed, strict=True)]
            assert encoding.size_bytes == sorted(map(len, frames))[1]
            assert encoding.error == judge.compare(answers).error <= 0.2
    assert {c for codecs in found.values() for c, e in codecs.items() if e.in_module} >= {
        "u8-tensor"
    }
    strict = lossy_encodings(host, samples, 0.001, lambda done, total: None)
    assert sum(map(len, strict.values())) < sum(map(len, found.values()))


@pytest.mark.parametrize(
    ("shape", "dtype", "producer", "codecs"),
    [
        ((1, 3, 32, 32), "float32", None, ["pixels"]),
        ((1, 32, 32, 3), "float32", "transpose", ["pixels"]),
        ((1, 32, 32, 16), "float32", "conv", ["f32"]),
        ((1, 99), "float32", None, ["f32"]),
        ((1, 3, 32, 32), "uint8", None, ["bytes"]),
        ((7,), "int64", "argmax", ["bytes"]),
    ],
)
def test_codecs_by_what_a_tensor_is(
    shape: tuple[int, ...], dtype: str, producer: str | None, codecs: list[str]
) -> None:
    assert exact_codecs(Tensor("t", shape, dtype, producer, ())) == codecs


def test_what_is_left_by_module_and_by_host() -> None:
    """A module's grid is fixed: what lies outside is brought to its ends."""
    rng = np.random.default_rng(0)
    array = rng.standard_normal((1, 20, 20, 32), np.float32)
    tensor = Tensor("t", array.shape, "float32", "conv", ("relu",))
    how = calibrated("u8", tensor, [array, array / 2])
    assert how is not None
    step = how.grid.step.max()
    assert np.abs(what_is_left("u8", array, how) - array).max() <= 0.51 * step
    wide = what_is_left("u8", 3 * array, how)
    np.testing.assert_allclose(wide.max((0, 1, 2)), array.max((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(wide.min((0, 1, 2)), array.min((0, 1, 2)), rtol=1e-5)
    own = what_is_left("u8", 3 * array, None)
    assert np.abs(own - 3 * array).max() <= 3 * 0.51 * step
    assert decode_tensor(encoded("u8", array, how)).dtype == np.uint8
    assert len(encoded("u4", array, calibrated("u4", tensor, [array]))) < array.nbytes / 8


@pytest.mark.parametrize(("kind", "codec"), [("noise", "planes"), ("slope", "rises")])
def test_indices_by_the_smallest_codec(kind: str, codec: str) -> None:
    """Where neighbours are alike their differences are small, elsewhere larger than they."""
    noise = np.random.default_rng(0).standard_normal((1, 24, 24, 16), np.float32)
    slope = np.linspace(0, 99, 24, dtype=np.float32)[:, None, None] + noise
    tensor = Tensor("t", noise.shape, "float32", "conv", ("relu",))
    how = calibrated("u8", tensor, [slope if kind == "slope" else noise])
    assert how is not None
    assert how.codec == codec
