"""Tensors of every kind that codecs are for, sent to a device by a codec and back by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import helper

from jointdnn_tvm.building import build
from jointdnn_tvm.codec.registry import CODECS, decode_tensor, encode_tensor
from jointdnn_tvm.network import load_network
from jointdnn_tvm.runtime.session import Session
from jointdnn_tvm.targets import load_target
from tests.onnx_models import make_model, save
from tests.tiny_models import Array, plan_of

EVERYWHERE = sorted(CODECS.keys() - {"none", "jpeg"})
"""The codecs that every device server has."""


def echo_bundle(codec: str, folder: Path, target: str = "host") -> Path:
    """A bundle whose cloud, built for `target`, sends back what it gets."""
    arrays = _tensors_for(codec)
    nodes = [helper.make_node("Identity", [n], [f"{n}_back"]) for n in arrays]
    network = load_network(save(make_model(nodes, arrays, [f"{n}_back" for n in arrays]), folder))
    plan = plan_of(network, {g.name: "cloud" for g in network.graph.groups})
    made = build(network, replace(plan, cloud=load_target(target)), fallback=False)
    tensors = {n: replace(t, codec=codec) for n, t in made.manifest.tensors.items()}
    made = replace(made, manifest=replace(made.manifest, tensors=tensors))
    return made.save(folder / "model.jd")


def assert_echoes(session: Session, codec: str) -> None:
    """What went there by the codec, and came back by it, is what it leaves here."""
    arrays = _tensors_for(codec)
    answer = session.run(arrays)
    assert session.cloud_error is None
    for name, array in arrays.items():
        there = decode_tensor(encode_tensor(codec, array))
        back = decode_tensor(encode_tensor(codec, there))
        np.testing.assert_array_equal(answer[f"{name}_back"], back)


def _tensors_for(codec: str) -> dict[str, Array]:
    return {n: a for n, a in _kinds().items() if a.dtype.name in CODECS[codec].dtypes}


def _kinds() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    activations = np.maximum(rng.standard_normal((1, 20, 30, 16), np.float32), 0)
    pictures = rng.integers(0, 9, (1, 3, 30, 40)).cumsum(2) % 256
    return {
        "signed": rng.standard_normal((1, 20, 30, 16), np.float32),
        "activations": activations * np.logspace(-3, 3, 16, dtype=np.float32),
        "no_numbers": np.where(activations > 2, np.float32(np.nan), activations),
        "sparse": activations * (activations > 2),
        "noise": rng.integers(0, 2**32, (1, 40, 40, 16), np.uint32).view(np.float32),
        "picture": pictures.astype(np.float32) / np.float32(255),
        "picture_last": pictures.transpose(0, 2, 3, 1).astype(np.float32) - 100,
        "vector": activations.reshape(-1)[:333],
        "indices": rng.binomial(250, 0.1, (1, 24, 20, 32)).astype(np.uint8),
        "nibbles": rng.binomial(15, 0.2, (1, 7, 11, 3)).astype(np.uint8),
        "whole": rng.integers(-9, 9, (1, 50)),
    }
