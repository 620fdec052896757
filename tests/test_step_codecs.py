"""What is offered for the tensors of a step, against frames of tensors from a step taken apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import jointdnn_tvm as jd
from jointdnn_tvm.codec.registry import CODECS, decode_tensor, encode_tensor
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.errors import CodecError
from jointdnn_tvm.host_network import HostNetwork
from jointdnn_tvm.offering import Offer
from jointdnn_tvm.training.host_trainer import HostTrainer
from jointdnn_tvm.training.losses import CrossEntropy
from jointdnn_tvm.training.optimizers import Sgd
from jointdnn_tvm.training.residuals import gradients
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.step_codecs import offer_step_codecs
from jointdnn_tvm.training.step_tensors import step_tensors
from jointdnn_tvm.training.trainable import load_trainable
from tests.training_models import TASKS


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> TrainingStep:
    network = load_trainable(TASKS["small_cnn"].model(tmp_path_factory.mktemp("cnn")), dropout=True)
    return training_step(network, CrossEntropy(), Sgd(momentum=0.9))


@pytest.fixture(scope="module")
def costs(step: TrainingStep) -> CostTable:
    return jd.estimate(step, mobile="raspberry-pi-4", cloud="cuda-sm90")


@pytest.fixture(scope="module")
def host(step: TrainingStep) -> HostNetwork:
    return HostNetwork(step)


@pytest.fixture(autouse=True)
def _compiled_once(host: HostNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jointdnn_tvm.training.step_codecs.HostNetwork", lambda step: host)


def codecs_of(offer: Offer) -> dict[str, set[str]]:
    return {tensor: set(ways) for tensor, ways in offer.encodings.items()}


def test_none(step: TrainingStep, costs: CostTable) -> None:
    assert offer_step_codecs(step, costs, "none") == Offer()


def test_lossless_is_exact_for_everything(step: TrainingStep, costs: CostTable) -> None:
    offer = offer_step_codecs(step, costs)
    assert offer.source == "lossless; sizes measured: a step on noise"
    ways = [(codec, way) for ways in offer.encodings.values() for codec, way in ways.items()]
    assert ways
    for codec, way in ways:
        assert CODECS[codec].exact
        assert (way.error, way.feedback) == (0, False)


@pytest.mark.parametrize("codec", ["f16", "u8"])
def test_activations_and_gradients_may_lose_bits(
    codec: str, step: TrainingStep, costs: CostTable
) -> None:
    offer = offer_step_codecs(step, costs, codec)
    assert offer.source.startswith(f"{codec}, error feedback on gradients; sizes measured")
    names = step_tensors(step)
    lossy = {tensor for tensor, codecs in codecs_of(offer).items() if codec in codecs}
    assert lossy & gradients(step)
    assert lossy - gradients(step)
    apart = {*names.inputs, *names.labels, *names.state, *names.new_state, names.loss}
    assert lossy.isdisjoint(apart)
    sizes = {t.name: t.size_bytes for t in step.graph.tensors}
    assert min(sizes[tensor] for tensor in lossy) >= 256
    for tensor, ways in offer.encodings.items():
        for name, way in ways.items():
            assert way.size_bytes < sizes[tensor]
            assert way.feedback == (name == codec and tensor in gradients(step))
            assert name == codec or way.error == 0
    errors = [ways[codec].error for t, ways in offer.encodings.items() if t in lossy]
    assert 0 < max(errors) < 0.1


def test_sizes_are_those_of_a_batch(step: TrainingStep, costs: CostTable) -> None:
    images, labels = TASKS["small_cnn"].batch(0)
    few = np.round(images).clip(-1, 1)
    offer = offer_step_codecs(step, costs, batch=({"x": few}, labels))
    assert offer.source.endswith("a step on a batch")
    (image,) = step_tensors(step).inputs
    ((codec, way),) = offer.encodings[image].items()
    assert way.size_bytes == len(encode_tensor(codec, few))
    on_noise = offer_step_codecs(step, costs).encodings[image]
    assert codec not in on_noise or on_noise[codec].size_bytes > 2 * way.size_bytes


def test_state_is_as_a_step_leaves_it(step: TrainingStep, costs: CostTable) -> None:
    """Momentum begins as zeros, which would cross for nothing."""
    images, labels = TASKS["small_cnn"].batch(0)
    offer = offer_step_codecs(step, costs, batch=({"x": images}, labels))
    trainer = HostTrainer(step)
    trainer.step({"x": images}, labels, learning_rate=1e-3)
    zeros = [n for n in step_tensors(step).state if not step.weights[n].any()]
    assert zeros
    sizes = {t.name: t.size_bytes for t in step.graph.tensors}
    for name in zeros:
        for way in offer.encodings[name].values():
            assert way.size_bytes > sizes[name] / 2


def test_error_is_that_of_the_tensor(
    step: TrainingStep, costs: CostTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    seen = {t.name: rng.standard_normal(t.shape).astype(t.dtype) for t in step.graph.tensors}
    monkeypatch.setattr(
        "jointdnn_tvm.training.step_codecs.HostNetwork",
        lambda step: type("Host", (), {"tensors": lambda self, given: dict(seen)})(),
    )
    offer = offer_step_codecs(step, costs, "u8")
    for tensor, ways in offer.encodings.items():
        if "u8" in ways:
            array = seen[tensor]
            lost = decode_tensor(encode_tensor("u8", array)) - array
            expected = np.sqrt(np.mean(lost**2) / np.mean(array**2))
            assert ways["u8"].error == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("side", ["mobile", "cloud"])
def test_device_without_codecs(step: TrainingStep, costs: CostTable, side: str) -> None:
    on_mobile, on_cloud = replace(costs, codecs_on_mobile={}), replace(costs, codecs_on_cloud={})
    without = on_mobile if side == "mobile" else on_cloud
    offer = offer_step_codecs(step, without)
    assert offer == Offer(source=f"none: codecs were not timed on the {side} device")
    with pytest.raises(CodecError, match=f"not timed on the {side} device; measure with"):
        offer_step_codecs(step, without, "u8")


def test_no_such_choice(step: TrainingStep, costs: CostTable) -> None:
    with pytest.raises(CodecError, match=r"no codecs 'lossy'; choose none, lossless, f16 or u8"):
        offer_step_codecs(step, costs, "lossy")
