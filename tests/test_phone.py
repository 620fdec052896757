"""The demo's phone process, by its protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.cli.tensors import random_inputs
from jointdnn_tvm.runtime.session import open_session


def test_phone_runs_the_bundles_in_turns_with_the_runtime_alone(
    new_bundle: Callable[[], Path], tmp_path: Path
) -> None:
    bundle = new_bundle()
    with open_session(bundle, cloud="local") as session:
        inputs = random_inputs(session.signature(), seed=3)
        expected = list(session.run(inputs).values())
    files = {name: str(tmp_path / f"{i}.npy") for i, name in enumerate(inputs)}
    for name, array in inputs.items():
        np.save(files[name], array)
    job: dict[str, Any] = {
        "bundles": {"one": str(bundle), "two": str(bundle)},
        "cloud": "local",
        "key": "",
    }
    job |= {"inputs": files, "folder": str(tmp_path), "rounds": 2, "runs": 3}
    phone = subprocess.run(
        [sys.executable, "-m", "jointdnn_tvm.demo.phone"],
        input=f"{json.dumps(job)}\ngo\n",
        capture_output=True,
        text=True,
        env={**os.environ, "TVM_USE_RUNTIME_LIB": "1"},
        timeout=120,
        check=True,
    )
    ready, latencies = phone.stdout.splitlines()
    assert ready == "ready"
    assert {name: len(times) for name, times in json.loads(latencies).items()} == {
        "one": 6,
        "two": 6,
    }
    for index, array in enumerate(expected):
        np.testing.assert_array_equal(np.load(tmp_path / f"one-{index}.npy"), array)
