"""The cloud's half of a crossing: what it keeps, for how long, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tvm
import tvm_ffi

from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.errors import CodecError, RunError
from jointdnn_tvm.runtime.message import decode, encode
from jointdnn_tvm.runtime.stage_module import StageModule
from jointdnn_tvm.runtime.stage_server import OPEN_STAGES, RUN_STAGE, StageServer, register
from tests.tiny_models import Array

Save = Callable[[], Path]


class Doubling:
    """Stands for a module: stage `ab` makes b of a."""

    def run(self, name: str, tensors: Mapping[str, Array]) -> dict[str, Array]:
        read, made = name[0], name[1]
        if read not in tensors:
            raise RunError(f"stage {name!r} was called without tensor {read!r}")
        return {made: tensors[read] * 2}


def server() -> StageServer:
    return StageServer(cast(StageModule, Doubling()))


def call(
    server: StageServer,
    stage: str,
    wanted: list[str],
    tensors: dict[str, Array] | None = None,
    request: int = 1,
    last: bool = False,
    codecs: dict[str, str] | None = None,
) -> dict[str, Array]:
    header = {"request": request, "stage": stage, "wanted": wanted, "last": last}
    header |= {"codecs": codecs or {}}
    return decode(server.run(encode(header, tensors or {})))[1]


ONE = {"a": np.arange(3.0)}


def test_stage_runs_on_what_was_sent() -> None:
    answer = call(server(), "ab", ["b"], ONE)
    assert list(answer) == ["b"]
    np.testing.assert_array_equal(answer["b"], [0, 2, 4])


def test_answer_takes_the_codecs_asked_for() -> None:
    sent = {"a": np.linspace(0, 1, 1000, dtype=np.float32)}
    header = {"request": 1, "stage": "ab", "wanted": ["b"], "codecs": {"a": "f16", "b": "u8"}}
    answer = server().run(encode(header, sent, {"a": "f16"}))
    assert len(answer) < 2000
    np.testing.assert_allclose(decode(answer)[1]["b"], 2 * sent["a"], atol=2 / 255)
    with pytest.raises(CodecError, match="there is no codec 'u7'"):
        call(server(), "ab", ["b"], ONE, codecs={"b": "u7"})


def test_tensors_are_kept_until_the_request_ends() -> None:
    cloud = server()
    assert call(cloud, "ab", [], ONE) == {}
    answer = call(cloud, "bc", ["a", "c"], last=True)
    np.testing.assert_array_equal(answer["c"], [0, 4, 8])
    np.testing.assert_array_equal(answer["a"], ONE["a"])
    with pytest.raises(RunError, match="called without tensor 'b'"):
        call(cloud, "bc", ["c"])


def test_another_request_does_not_see_them() -> None:
    cloud = server()
    call(cloud, "ab", [], ONE)
    with pytest.raises(RunError, match="called without tensor 'b'"):
        call(cloud, "bc", ["c"], request=2)


def test_wanted_tensor_that_is_not_there() -> None:
    with pytest.raises(RunError, match="stage 'ab' does not give tensor 'z'"):
        call(server(), "ab", ["b", "z"], ONE)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"request": 1, "stage": "ab", "codecs": {}},
        {"request": 1, "stage": "ab", "codecs": {}, "wanted": 5},
        {"request": 1, "stage": "ab", "wanted": []},
        {"request": 1, "stage": "ab", "wanted": [], "codecs": "u8"},
    ],
)
def test_header_that_lacks_something(header: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="header lacks something"):
        server().run(encode(header, ONE))


def test_damaged_message() -> None:
    with pytest.raises(RunError, match="is damaged"):
        server().run(b"nonsense")


def test_registered_functions_serve_a_bundle(new_bundle: Save, built: Bundle) -> None:
    folder = new_bundle()
    register(lambda name: folder / name)
    open_stages = tvm_ffi.get_global_func(OPEN_STAGES)
    run_stage = tvm_ffi.get_global_func(RUN_STAGE)
    stage = next(s for s in built.manifest.stages if s.side == "cloud")
    rng = np.random.default_rng(0)
    tensors = {
        t: np.asarray(rng.standard_normal(e.shape)).astype(e.dtype)
        for t, e in built.manifest.tensors.items()
        if t in stage.inputs
    }
    header = {"request": 1, "stage": stage.name, "wanted": stage.outputs, "codecs": {}}
    message = encode(header, tensors)
    with pytest.raises(RuntimeError, match="no stages are open in this session"):
        run_stage(message)
    document = {
        "library": "cloud.so",
        "weights": "cloud.safetensors",
        "stages": [vars(s) for s in built.manifest.stages_on("cloud")],
        "codecs": ["f32", "u8"],
        "tvm": tvm.__version__,
    }
    with pytest.raises(RuntimeError, match="there is no codec 'u7' here; use the version"):
        open_stages(json.dumps({**document, "codecs": ["f32", "u7"]}))
    with pytest.raises(RuntimeError, match=r"built with TVM 0\.1"):
        open_stages(json.dumps({**document, "tvm": "0.1"}))
    open_stages(json.dumps(document))
    expected = StageModule(
        folder / "cloud.so",
        folder / "cloud.safetensors",
        built.manifest.stages_on("cloud"),
        "cloud",
    ).run(stage.name, tensors)
    _, answer = decode(bytes(run_stage(message)))
    assert answer.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(answer[name], array)
