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
from jointdnn_tvm.errors import DeviceError, RunError
from jointdnn_tvm.network import load_network
from jointdnn_tvm.runtime.cloud import LocalCloud, RemoteCloud
from jointdnn_tvm.runtime.message import encode
from jointdnn_tvm.runtime.remote import RemoteSession, connect
from jointdnn_tvm.runtime.session import open_session
from jointdnn_tvm.runtime.stage_module import StageModule
from jointdnn_tvm.runtime.stage_server import RUN_STAGE
from jointdnn_tvm.verify import Reference, compare
from tests.codec_echo import EVERYWHERE, assert_echoes, echo_bundle
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


@pytest.mark.parametrize("codec", EVERYWHERE)
def test_device_server_and_codecs(
    serve_device: DeviceServerKind, codec: str, tmp_path: Path
) -> None:
    folder = echo_bundle(codec, tmp_path)
    with (
        serve_device(tmp_path / "device", "--key", "cloud") as (_, address),
        open_session(folder, cloud=str(address)) as session,
    ):
        assert_echoes(session, codec)


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
