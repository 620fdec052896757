"""The ways to reach the cloud's stages, a real device server among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from onnx import helper

from jointdnn_tvm.building import build
from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.codec.registry import CODECS, decode_tensor, encode_tensor
from jointdnn_tvm.errors import DeviceError, RunError
from jointdnn_tvm.network import load_network
from jointdnn_tvm.runtime.cloud import LocalCloud, RemoteCloud
from jointdnn_tvm.runtime.message import encode
from jointdnn_tvm.runtime.remote import RemoteSession, connect
from jointdnn_tvm.runtime.session import open_session
from jointdnn_tvm.runtime.stage_module import StageModule
from jointdnn_tvm.runtime.stage_server import RUN_STAGE
from jointdnn_tvm.verify import Reference, compare
from tests.deployment import DeviceServerKind, is_gone
from tests.native_programs import native_device_server
from tests.onnx_models import make_model, save
from tests.tiny_models import plan_of

HEADER = {"request": 1, "stage": "stage_1_cloud", "wanted": ["t"], "codecs": {}}


class Answering:
    """Stands for a session with a device whose run function gives this answer."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.closed = False

    def function(self, name: str) -> Callable[[bytes], bytearray]:
        assert name == RUN_STAGE
        return lambda message: bytearray(self._answer)

    @contextmanager
    def deadline(self, seconds: float, what: str) -> Iterator[None]:
        assert (seconds, what) == (7.0, "running stage_1_cloud")
        yield

    def close(self) -> None:
        self.closed = True

    def __str__(self) -> str:
        return "device somewhere:1"


def remote(answer: bytes) -> tuple[RemoteCloud, Answering]:
    session = Answering(answer)
    return RemoteCloud(cast(RemoteSession, session), 7.0), session


def test_answer_is_unpacked() -> None:
    cloud, session = remote(encode({}, {"t": np.arange(3)}))
    np.testing.assert_array_equal(cloud.run(HEADER, {})["t"], [0, 1, 2])
    cloud.close()
    assert session.closed


def test_nonsense_counts_as_a_lost_cloud() -> None:
    cloud, _ = remote(b"nonsense")
    with pytest.raises(DeviceError, match="device somewhere:1 answered nonsense"):
        cloud.run(HEADER, {})


def test_cloud_in_this_process(built: Bundle, tmp_path: Path) -> None:
    folder = built.save(tmp_path / "model.jd")
    stages = built.manifest.stages_on("cloud")
    module = StageModule(folder / "cloud.so", folder / "cloud.safetensors", stages, "cloud")
    stage = stages[0]
    rng = np.random.default_rng(0)
    entries = built.manifest.tensors
    tensors = {t: rng.standard_normal(entries[t].shape, "float32") for t in stage.inputs}
    expected = module.run(stage.name, tensors)
    header = {**HEADER, "stage": stage.name, "wanted": stage.outputs}
    cloud = LocalCloud(module)
    answer = cloud.run(header, dict(tensors))
    cloud.close()
    assert answer.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(answer[name], array)


def test_device_server_runs_the_cloud_side(
    serve_device: DeviceServerKind, built: Bundle, branching_path: Path, tmp_path: Path
) -> None:
    folder = built.save(tmp_path / "model.jd")
    reference = Reference(branching_path, threads=1)
    rng = np.random.default_rng(0)
    with serve_device(tmp_path / "device", "--key", "cloud") as (_, address):
        cloud: Any = f"{address.host}:{address.port}"
        for _ in range(2):  # the second session finds the files there
            with open_session(folder, cloud=cloud) as session:
                for _ in range(3):
                    inputs = {
                        name: rng.standard_normal(shape, "float32")
                        for name, shape, _ in session.signature()
                    }
                    difference = compare(session.run(inputs), reference.run(inputs))
                    assert difference.max_rel_error < 1e-5
                assert session.cloud_error is None
        session = open_session(folder, cloud=cloud)
    for _ in range(2):  # the server is gone: the phone goes on alone
        difference = compare(session.run(inputs), reference.run(inputs))
        assert difference.max_rel_error < 1e-5
    assert session.cloud_error is not None
    session.close()


def kinds() -> dict[str, np.ndarray[Any, Any]]:
    """Tensors of every kind that codecs are for."""
    rng = np.random.default_rng(0)
    activations = np.maximum(rng.standard_normal((1, 20, 30, 16), np.float32), 0)
    pictures = rng.integers(0, 9, (1, 3, 30, 40)).cumsum(2) % 256
    return {
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


@pytest.mark.parametrize("codec", sorted(CODECS.keys() - {"none", "jpeg"}))
def test_device_server_and_codecs(
    serve_device: DeviceServerKind, codec: str, tmp_path: Path
) -> None:
    """What went there by a codec, and came back by it, is what it leaves here."""
    arrays = {n: a for n, a in kinds().items() if a.dtype.name in CODECS[codec].dtypes}
    nodes = [helper.make_node("Identity", [n], [f"{n}_back"]) for n in arrays]
    path = save(make_model(nodes, arrays, [f"{n}_back" for n in arrays]), tmp_path)
    network = load_network(path)
    made = build(network, plan_of(network, {g.name: "cloud" for g in network.graph.groups}))
    tensors = {n: replace(t, codec=codec) for n, t in made.manifest.tensors.items()}
    made = replace(made, manifest=replace(made.manifest, tensors=tensors))
    folder = made.save(tmp_path / "model.jd")
    with (
        serve_device(tmp_path / "device", "--key", "cloud") as (_, address),
        open_session(folder, cloud=str(address)) as session,
    ):
        answer = session.run(arrays)
        assert session.cloud_error is None
    for name, array in arrays.items():
        there = decode_tensor(encode_tensor(codec, array))
        back = decode_tensor(encode_tensor(codec, there))
        np.testing.assert_allclose(answer[f"{name}_back"], back, rtol=1e-6, atol=1e-30)


def test_a_codec_that_a_device_server_lacks(built: Bundle, tmp_path: Path) -> None:
    tensors = {n: replace(t, codec="jpeg") for n, t in built.manifest.tensors.items()}
    made = replace(built, manifest=replace(built.manifest, tensors=tensors))
    folder, serve = made.save(tmp_path / "model.jd"), native_device_server()
    with (
        serve(tmp_path / "device") as (_, address),
        connect(address, deadline_s=20) as session,
        pytest.raises(DeviceError, match="this device server has no codec 'jpeg'"),
    ):
        RemoteCloud.connect(folder, made.manifest, session, 20.0)


@pytest.mark.parametrize("fallback", [True, False])
def test_query_that_fails_costs_no_cloud(
    serve_device: DeviceServerKind, fallback: bool, tmp_path: Path
) -> None:
    """An index out of range: one error, and the same device answers the next query."""
    node = helper.make_node("Gather", ["x", "i"], ["y"])
    x = np.arange(5, dtype=np.float32)
    path = save(make_model([node], {"x": x, "i": np.zeros(2, np.int64)}, ["y"]), tmp_path)
    network = load_network(path)
    placement: Any = {group.name: "cloud" for group in network.graph.groups}
    made = build(network, plan_of(network, placement), fallback=fallback)
    folder = made.save(tmp_path / "model.jd")
    told = r"(stage '\w+' failed|device .* failed while).*: an index of Gather is out of range"
    with serve_device(tmp_path / "device", "--key", "cloud") as (server, address):
        with open_session(folder, cloud=str(address)) as session:
            for wrong in (5, -6, 1 << 40):
                with pytest.raises(RunError if fallback else DeviceError, match=told) as failure:
                    session.run({"x": x, "i": np.array([0, wrong])})
                assert "\n" not in str(failure.value)
                answer = session.run({"x": x, "i": np.array([-1, 3])})
                assert answer["y"].tolist() == [4, 3]
            assert session.cloud_error is None
        assert not is_gone(server.pid)
