"""Cloud stages as calls: what goes up once, what comes back, and what stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.cloud import Header, Tensors
from jointdnn_tvm.runtime.cloud_calls import CloudCalls
from jointdnn_tvm.runtime.manifest import Manifest


class Answering:
    """A cloud that notes its calls, and answers zeros of the shapes that a manifest has."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.headers: list[Header] = []
        self.sent: list[set[str]] = []
        self.lacks: str | None = None

    def run(self, header: Header, tensors: Tensors) -> Tensors:
        self.headers.append(header)
        self.sent.append(set(tensors))
        entries = {name: self._manifest.tensors[name] for name in header["wanted"]}
        return {n: np.zeros(e.shape, e.dtype) for n, e in entries.items() if n != self.lacks}

    def close(self) -> None:
        """Nothing to let go of."""


@pytest.fixture
def manifest(built: Bundle) -> Manifest:
    codecs = {"float32": "f32", "int64": "bytes"}
    entries = built.manifest.tensors.items()
    return replace(
        built.manifest, tensors={n: replace(t, codec=codecs[t.dtype]) for n, t in entries}
    )


def test_calls_of_a_request(manifest: Manifest) -> None:
    cloud = Answering(manifest)
    outputs = [port.tensor for port in manifest.outputs]
    calls = CloudCalls(manifest, outputs)
    held = {n: np.zeros(t.shape, t.dtype) for n, t in manifest.tensors.items()}
    there = {manifest.inputs[0].tensor}
    stages = [stage for stage in manifest.stages if stage.side == "cloud"]
    on_mobile = {t for s in manifest.stages if s.side == "mobile" for t in s.inputs}
    for stage in stages:
        before = set(there)
        answer = calls.run(cloud, stage, held, there, {"request": 7, "steps": 3})
        assert answer.keys() == set(stage.outputs) & ({*outputs} | on_mobile)
        assert cloud.sent[-1] == set(stage.inputs) - before
        assert there == before | set(stage.inputs) | set(stage.outputs)
        header = cloud.headers[-1]
        assert (header["request"], header["steps"], header["stage"]) == (7, 3, stage.name)
        assert header["codecs"].keys() == {*cloud.sent[-1], *header["wanted"]}
    assert [header["last"] for header in cloud.headers] == [*[False] * (len(stages) - 1), True]


def test_answer_that_lacks_a_tensor(manifest: Manifest) -> None:
    cloud = Answering(manifest)
    calls = CloudCalls(manifest, [port.tensor for port in manifest.outputs])
    held = {n: np.zeros(t.shape, t.dtype) for n, t in manifest.tensors.items()}
    stage = next(s for s in manifest.stages if s.side == "cloud")
    (cloud.lacks, *_) = calls.run(cloud, stage, held, set(), {"request": 1})
    with pytest.raises(DeviceError, match=f"answer to {stage.name} has no such tensor"):
        calls.run(cloud, stage, held, set(), {"request": 2})
