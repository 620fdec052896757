"""Answers of two kernels for the same numbers, which the device makes and packs itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tvm import te

from jointdnn_tvm.cost.bench import Bench
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.winograd import WinogradPanels
from jointdnn_tvm.runtime.remote import connect
from jointdnn_tvm.targets import load_target
from jointdnn_tvm.tuning.answers import _difference, largest_difference
from jointdnn_tvm.tuning.candidates import build_candidate, build_packing
from jointdnn_tvm.tuning.groups import kernels_of_groups
from jointdnn_tvm.tuning.space import with_choice
from tests.measurable import QUICK

HOST = load_target("host")


@pytest.fixture
def bench(lab: LoopbackLab) -> Iterator[Bench]:
    with closing(Bench(partial(connect, lab.address("cloud"), deadline_s=20), "cpu", QUICK)) as b:
        yield b


def difference(bench: Bench, network: Network, folder: Path) -> float:
    """Of a convolution with its residual, direct and by Winograd."""
    candidates = []
    for outputs in (0, 4):
        group = network.graph.groups[3]
        (kernel,) = kernels_of_groups(network, HOST)[group.key]
        profile = with_choice(HOST, kernel, {"outputs": outputs})
        path = folder / f"{outputs}.so"
        candidates.append(build_candidate(network, (group.key, group.name), profile, path))
    a, b = candidates
    packed = {w for c in (a, b) for w in c.weights if w.packing}
    assert len(packed) == 2
    path = folder / "packing.so"
    packing = build_packing(network, group.name, packed, HOST, path)
    return largest_difference(bench, (a, b), (path, packing), 30.0)


def test_equal_kernels_agree(bench: Bench, branching: Network, tmp_path: Path) -> None:
    assert 0 < difference(bench, branching, tmp_path) < 1e-5


def test_another_answer_is_found_out(
    bench: Bench, branching: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a kernel whose weights are packed for another one."""
    monkeypatch.setattr(WinogradPanels, "compute", lambda packing, w: _zeros(packing, w))
    assert difference(bench, branching, tmp_path) > 0.1


def _zeros(packing: WinogradPanels, weight: te.Tensor) -> te.Tensor:
    shape = packing.shape([int(extent) for extent in weight.shape])
    return te.compute(shape, lambda *_: emit.zero(), "pack")


@pytest.mark.parametrize(
    ("wanted", "found", "difference"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0.0),
        ([1.0, -4.0], [2.0, -4.0], 0.25),
        ([0.0], [3.0], 3.0),
        ([np.nan], [np.nan], 0.0),
        ([np.nan], [1.0], np.inf),
        ([1.0], [np.inf], np.inf),
        ([], [], 0.0),
    ],
)
def test_differences(wanted: list[float], found: list[float], difference: float) -> None:
    assert _difference(np.array(wanted), np.array(found)) == difference
