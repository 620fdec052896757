"""Plans on held-out samples, and which codec is given up when one fails."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.codec.registry import decode_tensor, encode_tensor
from jointdnn_tvm.cost.table import Encoding, Encodings
from jointdnn_tvm.errors import CodecError
from jointdnn_tvm.host_network import HostNetwork, Sample
from jointdnn_tvm.network import Network
from jointdnn_tvm.samples import random_sample
from jointdnn_tvm.trial import Trial, safer


@pytest.fixture(scope="module")
def host(branching: Network) -> HostNetwork:
    return HostNetwork(branching)


@pytest.fixture(scope="module")
def samples(branching: Network) -> list[Sample]:
    return [random_sample(branching, seed).inputs[0] for seed in range(6)]


def test_errors_are_those_of_the_plans_answers(host: HostNetwork, samples: list[Sample]) -> None:
    """All on the cloud: what the cloud gets of the image is all that it can know of it."""
    trial = Trial.prepare(host, samples, budget=0.1)
    cloud = dict.fromkeys((g.name for g in host.graph.groups), "cloud")
    plain = dict.fromkeys([*host.graph.inputs, *host.graph.outputs], "none")
    assert trial.run(cloud, plain, {}).error == 0  # type: ignore[arg-type]
    image = host.graph.inputs[0]
    found = trial.run(cloud, {**plain, image: "u4"}, {})  # type: ignore[arg-type]
    coarse = [{**s, image: decode_tensor(encode_tensor("u4", s[image]))} for s in samples]
    answers = [[host.tensors(s)[name] for name in host.graph.outputs] for s in coarse]
    assert found == trial.judge.compare(answers)
    assert found.max_change > 0.01


def test_exact_codecs_change_nothing(host: HostNetwork, samples: list[Sample]) -> None:
    trial = Trial.prepare(host, samples, budget=0.1)
    mobile = dict.fromkeys((g.name for g in host.graph.groups), "mobile")
    assert trial.run(mobile, {}, {}).error == 0  # type: ignore[arg-type]


def test_samples_that_are_one(host: HostNetwork, samples: list[Sample]) -> None:
    with pytest.raises(CodecError, match=r"cannot show .* all of 6 samples give the same answer"):
        Trial.prepare(host, [samples[0]] * 6, budget=0.1)
    with pytest.raises(CodecError, match="3 samples to confirm with are fewer than 4; give more"):
        Trial.prepare(host, samples[:3], budget=0.1)


ENCODINGS: Encodings = {
    "a": {"f32": Encoding(90), "f16": Encoding(50, 0.001), "u8": Encoding(30, 0.01)},
    "b": {"f32": Encoding(90), "u8": Encoding(30, 0.02), "u4": Encoding(15, 0.02)},
}


def test_the_worst_codec_goes_and_all_as_bad() -> None:
    fewer = safer(ENCODINGS, {"a": "u8", "b": "u8"})
    assert fewer == {"a": ENCODINGS["a"], "b": {"f32": Encoding(90)}}
    again = safer(fewer, {"a": "u8", "b": "f32"})
    assert again == {"a": {"f32": Encoding(90), "f16": Encoding(50, 0.001)}, "b": fewer["b"]}


@pytest.mark.parametrize("codecs", [{}, {"a": "f32", "b": "none"}, {"c": "none"}])
def test_nothing_is_safer_than_exact(codecs: dict[str, str]) -> None:
    assert safer(ENCODINGS, codecs) is None


def test_it_ends() -> None:
    encodings: Encodings | None = ENCODINGS
    rounds = 0
    while encodings is not None:
        smallest = {t: min(c, key=lambda n: c[n].size_bytes) for t, c in encodings.items()}
        encodings = safer(encodings, smallest)
        rounds += 1
    assert rounds == 4
    assert np.all([c == "f32" for c in smallest.values()])
