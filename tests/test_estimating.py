"""Costs without a device, and how they go with measured ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import jointdnn_tvm as jd
from jointdnn_tvm import estimating
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.devices import Devices
from jointdnn_tvm.errors import CostError
from jointdnn_tvm.network import Network
from tests.tiny_models import write_onnx


def pyramid(folder: Path) -> Path:
    """Convolutions, pools and dense layers whose work goes over four orders of magnitude."""
    rng = np.random.default_rng(0)
    nodes, weights, value, channels = [], {}, "image", 3
    for level, width in enumerate((16, 32, 64, 128)):
        weights[f"k{level}"] = rng.standard_normal((width, channels, 3, 3)).astype("f4") / 30
        nodes += [
            helper.make_node("Conv", [value, f"k{level}"], [f"c{level}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{level}"], [f"r{level}"]),
            helper.make_node(
                "MaxPool", [f"r{level}"], [f"p{level}"], kernel_shape=[2, 2], strides=[2, 2]
            ),
        ]
        value, channels = f"p{level}", width
    nodes += [
        helper.make_node("Flatten", [value], ["flat"]),
        helper.make_node("MatMul", ["flat", "d0"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "d1"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"]),
    ]
    weights["d0"] = rng.standard_normal((128 * 6 * 6, 512)).astype("f4") / 100
    weights["d1"] = rng.standard_normal((512, 10)).astype("f4") / 20
    outputs = [("shares", TensorProto.FLOAT)]
    return write_onnx(folder / "pyramid.onnx", nodes, {"image": (1, 3, 96, 96)}, outputs, weights)


def test_every_group_has_an_estimate_that_says_what_it_is(branching: Network) -> None:
    costs = jd.estimate(branching, mobile="raspberry-pi-4", cloud="cuda-sm90")
    keys = {g.key for g in branching.graph.groups}
    assert costs.on_mobile.keys() == costs.on_cloud.keys() == keys
    assert costs.measured == 0
    for key in keys:
        mobile, cloud = costs.on_mobile[key], costs.on_cloud[key]
        assert mobile.source.startswith("model:roofline")
        assert cloud.source.startswith("model:roofline")
        assert mobile.latency_s is not None
        assert cloud.latency_s is not None
        assert mobile.repeats == cloud.repeats == 0


def test_a_plan_of_estimates(branching: Network) -> None:
    costs = jd.estimate(branching, mobile="jetson-tx2", cloud="cuda-sm80")
    plan = jd.plan(branching, costs, link="lan-1g")
    assert plan.answer.status == "optimal"
    assert plan.sources["mobile latency"].startswith("model:roofline")
    assert plan.sources["cloud latency"].startswith("model:roofline")
    baselines = [plan.baselines[name].latency_s for name in ("mobile-only", "cloud-only")]
    assert plan.answer.latency_s <= min(baselines)


def test_what_cannot_be_counted_has_no_estimate(
    branching: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise CostError("the shape depends on the data")

    monkeypatch.setattr(estimating, "count_work", refuse)
    costs = jd.estimate(branching)
    assert {m.latency_s for m in costs.on_mobile.values()} == {None}
    with pytest.raises(CostError, match="runs on neither side: mobile: the shape depends"):
        jd.plan(branching, costs)


def test_estimates_order_groups_as_measuring_does(tmp_path: Path, lab: LoopbackLab) -> None:
    network = jd.load_network(pyramid(tmp_path))
    devices = Devices(str(lab.tracker))
    measured = jd.measure(network, devices=devices, database=tmp_path / "costs").on_mobile
    estimated = jd.estimate(network).on_mobile
    pairs = [(measured[key].latency_s, estimated[key].latency_s) for key in estimated]
    times = [(found or 0.0, guess or 0.0) for found, guess in pairs]
    # This machine may be busy, which upsets near neighbours: chance alone gives 0 +- 0.3.
    assert rank_correlation(*zip(*times, strict=True)) > 0.6
    # Its peak is nominal: only the magnitude is asked for.
    ratio = sum(found for found, _ in times) / sum(guess for _, guess in times)
    assert 0.3 < ratio < 30


def rank_correlation(left: Sequence[float], right: Sequence[float]) -> float:
    """Spearman's: that of the ranks."""
    ranks = [np.argsort(np.argsort(values)).tolist() for values in (left, right)]
    return statistics.correlation(*ranks)
