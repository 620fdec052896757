"""The cloud's half of a run: in step with the phone, and kept on its disk."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm_ffi

from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.errors import RunError
from jointdnn_tvm.runtime.checkpoint import Run, checkpoint_files
from jointdnn_tvm.runtime.message import decode, encode
from jointdnn_tvm.runtime.training_half import TrainingHalf
from jointdnn_tvm.runtime.training_server import (
    GET_STATE,
    KEEP_STATE,
    OPEN_TRAINING,
    TRAIN,
    TrainingServer,
    opening,
    register,
    with_zeros,
)
from tests.test_training_half import ENTRY
from tests.tiny_models import Array
from tests.training_runs import CASES, all_on, build

RUN = Run("ab" * 16, "net", "cd" * 32, 9)


class Doubling:
    """Stands for a module: its stage makes the next values of a and b."""

    def run_on_device(self, name: str, tensors: Mapping[str, Array]) -> dict[str, Array]:
        return {f"{t}_new": tensors[t] * tensors["factor"] for t in "ab"}

    def hold(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return dict(arrays)


def server(folder: Path | None) -> TrainingServer:
    state = {"a": np.ones(2), "b": np.full(2, 3.0)}
    return TrainingServer(TrainingHalf(Doubling(), ENTRY, state, 4, 9), RUN, folder)


def train(server: TrainingServer, request: int, steps: int, factor: float = 2.0) -> Array:
    header = {"request": request, "steps": steps, "stage": "s", "wanted": ["a_new"], "codecs": {}}
    return decode(server.train(encode(header, {"factor": np.array(factor)})))[1]["a_new"]


def state(server: TrainingServer, steps: int) -> dict[str, float]:
    message = encode({"steps": steps, "names": ["a", "b"]}, {})
    return {n: float(t[0]) for n, t in decode(server.get_state(message))[1].items()}


def test_next_message_tells_whether_a_step_was_taken() -> None:
    cloud = server(None)
    assert train(cloud, 1, 4).tolist() == [2, 2]
    assert train(cloud, 2, 4, factor=5.0).tolist() == [5, 5]  # the first attempt was dropped
    assert train(cloud, 3, 5).tolist() == [10, 10]  # the second was taken
    assert state(cloud, 5) == {"a": 5, "b": 15}
    assert train(cloud, 4, 5).tolist() == [10, 10]
    assert state(cloud, 6) == {"a": 10, "b": 30}
    with pytest.raises(RunError, match="is at step 6, the other at step 4"):
        train(cloud, 5, 4)


def test_messages_that_lack_something() -> None:
    cloud = server(None)
    header = {"request": 1, "stage": "s", "wanted": [], "codecs": {}}
    for steps in (None, "4", True):
        with pytest.raises(RunError, match="lacks the number of steps"):
            cloud.train(encode({**header, "steps": steps}, {}))
    with pytest.raises(RunError, match="half has no tensor 'elsewhere'"):
        cloud.get_state(encode({"steps": 4, "names": ["elsewhere"]}, {}))


def test_checkpoint(tmp_path: Path) -> None:
    cloud = server(tmp_path / RUN.name)
    train(cloud, 1, 4)
    sha256 = cloud.keep_state(json.dumps({"steps": 5}))
    (file,) = checkpoint_files(tmp_path / RUN.name)
    assert (file.steps, file.sha256) == (5, sha256)


def test_runs_of_long_ago_leave_the_disk(tmp_path: Path) -> None:
    old, recent, other = tmp_path / ("0" * 32), tmp_path / ("1" * 32), tmp_path / "other"
    for folder, days in ((old, 31), (recent, 29), (other, 100)):
        folder.mkdir()
        then = time.time() - days * 24 * 3600
        os.utime(folder, (then, then))
    server(tmp_path / RUN.name).keep_state(json.dumps({"steps": 4}))
    assert {folder.name for folder in tmp_path.iterdir()} == {recent.name, other.name, RUN.name}


def test_checkpoint_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no folder"):
        server(None).keep_state(json.dumps({"steps": 4}))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="cannot be written"):
        server(tmp_path / "file" / "run").keep_state(json.dumps({"steps": 4}))


def test_what_is_not_found_starts_as_zeros() -> None:
    found = with_zeros({"a": np.ones(2)}, {"a": ((2,), "float64"), "b": ((3, 1), "float32")})
    assert found["a"].tolist() == [1, 1]
    np.testing.assert_array_equal(found["b"], np.zeros((3, 1), np.float32))
    assert found["b"].dtype == np.float32


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    folder = tmp_path_factory.mktemp("model")
    step = CASES["mlp-sgd"].step(folder)
    made = build(step, all_on(step, "cloud"), fallback=False)
    return made.save(folder / "m.jd"), made


def test_registered_functions_serve_a_run(bundle: tuple[Path, Bundle], tmp_path: Path) -> None:
    folder, made = bundle
    manifest = made.manifest

    def find(name: str) -> Path:
        if not (folder / name).exists():
            raise FileNotFoundError(name)
        return folder / name

    register(find, tmp_path)
    functions: Any = [
        tvm_ffi.get_global_func(name) for name in (OPEN_TRAINING, TRAIN, GET_STATE, KEEP_STATE)
    ]
    open_training, run_stage, get_state, keep_state = functions
    calls: list[Callable[[], Any]] = [
        lambda: run_stage(0, b""),
        lambda: get_state(0, b""),
        lambda: keep_state("{}"),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="no run of training is open in this session"):
            call()
    files = {"library": "cloud.so", "weights": "cloud.safetensors"}
    document = opening(RUN, manifest, files, 0, "cloud-state.safetensors")
    odd = json.loads(document)
    for change, why in (
        ({"tvm": "0.1"}, r"built with TVM 0\.1"),
        ({"codecs": ["u7"]}, "no codec 'u7'"),
        ({"run": {**asdict(RUN), "name": "../../etc"}}, "is no name of a run"),
    ):
        with pytest.raises(RuntimeError, match=why):
            open_training(json.dumps({**odd, **change}))
    assert not open_training(json.dumps({**odd, "state": "not-here"}))
    assert open_training(document)
    names = list(manifest.state_held_by("cloud"))
    _, found = decode(bytes(get_state(0, encode({"steps": 0, "names": names}, {})))[8:])
    half = made.halves["cloud"].state
    assert half is not None
    for name, array in half.items():
        np.testing.assert_array_equal(found[name], array)
    sha256 = keep_state(json.dumps({"steps": 0}))
    again = opening(RUN, manifest, files, 0, sha256)
    assert open_training(again)
