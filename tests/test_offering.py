"""What is offered to the planner, or why nothing is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm import offering
from jointdnn_tvm.agreement import Agreement
from jointdnn_tvm.cost.codec_times import codec_workloads
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.table import CostTable, make_problem
from jointdnn_tvm.errors import CodecError, LinkError, RunError
from jointdnn_tvm.estimating import estimate
from jointdnn_tvm.host_network import HostNetwork
from jointdnn_tvm.network import Network
from jointdnn_tvm.offering import Offer, offer_codecs
from jointdnn_tvm.placement import Limits
from jointdnn_tvm.samples import Samples, random_sample
from jointdnn_tvm.targets import load_link


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


def test_analytic_costs_have_modelled_codecs_for_given_inputs(branching: Network) -> None:
    modelled = estimate(branching, mobile="raspberry-pi-4", cloud="cuda-sm90")
    offer = offer_codecs(branching, modelled)
    assert offer.encodings == {}
    assert offer.source.startswith("none: for analytic costs nothing runs")
    offer = offer_codecs(branching, modelled, calibrate=random_sample(branching))
    assert offer.source.endswith(", times model:cycles of codecs")
    problem = make_problem(
        branching.graph, modelled, load_link("lan-1g"), encodings=offer.encodings
    )
    codecs = [codec for tensor in problem.tensors for codec in tensor.codecs]
    assert codecs
    for codec in codecs:
        assert codec.encode_s.mobile > codec.encode_s.cloud > 0
        assert codec.encode_j == pytest.approx(modelled.mobile.busy_w * codec.encode_s.mobile)


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, in which no sizes of an earlier run are found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.usefixtures("nothing_kept")
def test_machine_without_a_linker(
    branching: Network, costs: CostTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(network: Network) -> None:
        raise LinkError("no linker; install gcc")

    monkeypatch.setattr(offering, "HostNetwork", fail)
    offer = offer_codecs(branching, costs)
    assert (offer.encodings, offer.source) == ({}, "none: no linker; install gcc")


@pytest.mark.usefixtures("nothing_kept")
def test_network_that_fails_on_noise(
    branching: Network, costs: CostTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: HostNetwork, inputs: object) -> None:
        raise RunError("group 'take_3' failed on this machine: an index is out of range")

    monkeypatch.setattr(HostNetwork, "tensors", fail)
    assert offer_codecs(branching, costs).source.startswith("none: group 'take_3' failed")


def test_another_choice(branching: Network, costs: CostTable) -> None:
    with pytest.raises(CodecError, match="no codecs 'best'; choose none, lossless, lossy"):
        offer_codecs(branching, costs, "best")


@pytest.fixture(scope="module")
def real(branching: Network) -> Samples:
    """Inputs that stand for real ones."""
    inputs = tuple(random_sample(branching, seed).inputs[0] for seed in range(12))
    return Samples(inputs, True, "12 samples of a test")


@pytest.fixture(scope="module")
def lossy(branching: Network, costs: CostTable, real: Samples) -> Offer:
    return offer_codecs(branching, costs, "lossy", calibrate=real, max_error=0.1)


def test_lossy_ones_have_errors_within_the_budget(lossy: Offer) -> None:
    assert lossy.source == "lossy, sizes measured:12 samples of a test"
    assert lossy.trial is not None
    assert len(lossy.trial.samples) == 6
    errors = {
        codec: [codecs[codec].error for codecs in lossy.encodings.values() if codec in codecs]
        for codec in ("f32", "f16", "u8-tensor")
    }
    assert set(errors["f32"]) == {0}
    assert 0 < max(errors["f16"]) < max(errors["u8-tensor"]) <= 0.1


def test_budget_is_a_limit_of_the_plan(lossy: Offer) -> None:
    assert lossy.limits(Limits(max_cloud_s=3)) == Limits(max_cloud_s=3, max_error=0.1)
    assert lossy.limits(Limits(max_error=0.01)).max_error == 0.01
    assert Offer().limits(Limits()) == Limits()


def test_plan_that_fails_its_trial_gets_another_offer(lossy: Offer) -> None:
    tensor = next(t for t, codecs in lossy.encodings.items() if "u8-tensor" in codecs)
    codecs = {tensor: "u8-tensor"}
    good = Agreement(0.1, 1.0, 6, 6, 2)
    assert lossy.after(good, codecs) is None
    fewer = lossy.after(replace(good, max_change=0.11), codecs)
    assert fewer is not None
    assert "u8-tensor" not in fewer.encodings[tensor]
    assert fewer.trial is lossy.trial
    assert Offer().after(None, codecs) is None


def test_lossy_ones_need_inputs_and_a_budget(branching: Network, costs: CostTable) -> None:
    for calibrate, budget in ((None, 0.1), ("in.npz", None)):
        with pytest.raises(CodecError, match=r"lossy codecs need inputs .* --calibrate and --max"):
            offer_codecs(branching, costs, "lossy", calibrate=calibrate, max_error=budget)


def test_lossy_ones_need_many_inputs_of_several_kinds(
    branching: Network, costs: CostTable, real: Samples
) -> None:
    few = replace(real, inputs=real.inputs[:7])
    with pytest.raises(CodecError, match="7 calibration samples are too few for lossy codecs"):
        offer_codecs(branching, costs, "lossy", calibrate=few, max_error=0.1)
    same = replace(real, inputs=real.inputs[:1] * 12)
    with pytest.raises(CodecError, match="all of 6 samples give the same answer"):
        offer_codecs(branching, costs, "lossy", calibrate=same, max_error=0.1)


def test_lossy_ones_need_times(branching: Network, real: Samples) -> None:
    costs = replace(estimate(branching), codecs_on_mobile={})
    with pytest.raises(CodecError, match="codecs were not timed on the mobile device; measure"):
        offer_codecs(branching, costs, "lossy", calibrate=real, max_error=0.1)
