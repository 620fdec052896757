"""What is compiled to be tried, by several threads at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.choose_kernels import Weight
from jointdnn_tvm.passes.kernels.winograd import WinogradPanels
from jointdnn_tvm.targets import load_target
from jointdnn_tvm.tuning.candidates import build_candidate, build_packing
from jointdnn_tvm.tuning.groups import kernels_of_groups
from jointdnn_tvm.tuning.space import with_choice

HOST = load_target("host")


def test_two_threads_pack_at_once(
    branching: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where both were let in, the first one would leave before the second, which ends it."""
    group = branching.graph.groups[3]
    (kernel,) = kernels_of_groups(branching, HOST)[group.key]
    profile = with_choice(HOST, kernel, {"outputs": 4})
    candidate = build_candidate(branching, (group.key, group.name), profile, tmp_path / "c.so")
    packed = {weight for weight in candidate.weights if weight.packing}
    entered = [threading.Event(), threading.Event()]
    real: Callable[..., Any] = WinogradPanels.compute

    def compute(*arguments: Any) -> Any:
        if entered[0].is_set():
            entered[1].set()
            time.sleep(0.3)
        else:
            entered[0].set()
            entered[1].wait(0.5)
        return real(*arguments)

    monkeypatch.setattr(WinogradPanels, "compute", compute)

    def build(name: str) -> dict[Weight, Any]:
        return build_packing(branching, group.name, packed, HOST, tmp_path / f"{name}.so")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(build, "first")
        assert entered[0].wait(30)
        assert set(pool.submit(build, "second").result()) == packed
        assert set(first.result()) == packed
