"""What is offered to the planner, or why nothing is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm import offering
from jointdnn_tvm.cost.codec_times import codec_workloads
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.errors import CodecError, LinkError
from jointdnn_tvm.estimating import estimate
from jointdnn_tvm.network import Network
from jointdnn_tvm.offering import offer_codecs


@pytest.fixture(scope="module")
def costs(branching: Network) -> CostTable:
    times = {w: Measurement(1e-6, 0.0, 1, None, "measured:a clock") for w in codec_workloads()}
    return replace(estimate(branching), codecs_on_mobile=times, codecs_on_cloud=times)


def test_none(branching: Network, costs: CostTable) -> None:
    offer = offer_codecs(branching, costs, "none")
    assert (offer.encodings, offer.source) == ({}, "none")


def test_lossless_by_noise(branching: Network, costs: CostTable) -> None:
    offer = offer_codecs(branching, costs)
    assert offer.source == "lossless, sizes measured:noise as input, give --calibrate for real ones"
    assert {c for codecs in offer.encodings.values() for c in codecs} == {"f32"}


def test_lossless_by_the_users_inputs(branching: Network, costs: CostTable, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 9, (3, 1, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "in.npz", image=image, bias=np.zeros((3, 1, 10), np.float32))
    offer = offer_codecs(branching, costs, calibrate=tmp_path / "in.npz")
    assert offer.source == "lossless, sizes measured:3 samples of in.npz"
    assert "pixels" in offer.encodings[branching.graph.inputs[0]]


@pytest.mark.parametrize("side", ["mobile", "cloud"])
def test_device_without_codecs(branching: Network, costs: CostTable, side: str) -> None:
    on_mobile = replace(costs, codecs_on_mobile={})
    without = on_mobile if side == "mobile" else replace(costs, codecs_on_cloud={})
    offer = offer_codecs(branching, without)
    assert offer.encodings == {}
    assert offer.source == f"none: codecs were not timed on the {side} device"


def test_machine_without_a_linker(
    branching: Network, costs: CostTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(network: Network) -> None:
        raise LinkError("no linker; install gcc")

    monkeypatch.setattr(offering, "HostNetwork", fail)
    offer = offer_codecs(branching, costs)
    assert (offer.encodings, offer.source) == ({}, "none: no linker; install gcc")


def test_another_choice(branching: Network, costs: CostTable) -> None:
    with pytest.raises(CodecError, match="there are no codecs 'best'; choose none or lossless"):
        offer_codecs(branching, costs, "best")
