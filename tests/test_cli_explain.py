"""`jointdnn explain`: text and JSON, of files and of networks; and limits of networks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from jointdnn_tvm.cli.explain import render
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.placement import (
    Limits,
    Link,
    Operator,
    Problem,
    SideCost,
    Tensor,
    explain,
    fixed_placement,
)
from jointdnn_tvm.probing import _Pair
from jointdnn_tvm.runtime.exchange_times import ExchangeTimes
from jointdnn_tvm.runtime.link_probe import PathTimes
from tests.command import Command
from tests.onnx_models import make_model, save
from tests.random_problems import random_problem
from tests.test_explain import PROBLEM


def test_text_worked_out_by_hand() -> None:
    assert (
        render(explain(PROBLEM).to_json())
        == """\
optimal: latency 3.7 s (min-cut)
  mobile: a; cloud: b; mobile: c

what a query's latency goes to
  mobile       1.5 s   40.5%
  uplink       1 s     27.0%
  cloud        750 ms  20.3%
  downlink     250 ms  6.8%
  round trips  200 ms  5.4%
  together     3.7 s
  in a stream of queries the mobile is busiest: 1.5 s each

what crosses the link
  up    ab  1 kB   1 s     3 J
  down  bc  500 B  250 ms  500 mJ

closest alternatives
  + 3.375 s  c on the cloud
  + 6.8 s    b on the mobile
  + 8.25 s   a on the cloud

baselines
  mobile-only   10.5 s   2.838x
  cloud-only    15.32 s  4.142x
  neurosurgeon  7.075 s  1.912x
  dads          7.075 s  1.912x

the best plan as one condition varies
  uplink, 8 bit/s to 8 Mbit/s
    below 1.026 kbit/s         all on the mobile
    1.026 kbit/s to 96 kbit/s  this plan
    above 96 kbit/s            cloud: a .. b (2); mobile: c
  downlink, 16 bit/s to 16 Mbit/s
    below 567.4 bit/s          all on the mobile
    567.4 bit/s to 160 kbit/s  this plan
    above 160 kbit/s           mobile: a; cloud: b .. c (2)
  round trip, 0 s to 2 s
    everywhere  this plan
  slowdown of the cloud, 0.1x to 10x
    everywhere  this plan"""
    )


def test_it_can_be_read_for_any_problem() -> None:
    for seed in range(40):
        text = render(explain(random_problem(seed, codecs=True)).to_json())
        assert text.startswith("optimal: ")
        assert all(0 < len(line) < 200 for line in text.splitlines() if line)
        assert "None" not in text


def test_limits_and_what_they_refuse() -> None:
    limits = Limits(max_cloud_s=0.5, max_mobile_bytes=200)
    text = render(explain(replace(PROBLEM, limits=limits)).to_json())
    assert (
        """\
limits
  max_cloud_s       0 of 0.5    0.0%   binds: without it latency 3.7 s
  max_mobile_bytes  175 of 200  87.5%  does not bind

closest alternatives
  - 6.8 s    b on the cloud  breaks max_cloud_s 0.5 (takes 0.75)
  + 4.325 s  c on the cloud
  + 9.95 s   a on the cloud
"""
        in text
    )
    assert text.endswith("""\
the best plan at half and at twice each condition
  uplink                 4 kbit/s   10.5 s   this plan
                         16 kbit/s  10.5 s   this plan
  downlink               8 kbit/s   10.5 s   this plan
                         32 kbit/s  10.5 s   this plan
  round trip             100 ms     10.5 s   this plan
                         400 ms     10.5 s   this plan
  slowdown of the cloud  0.5x       3.325 s  mobile: a; cloud: b; mobile: c
                         2x         10.5 s   this plan""")


def test_a_given_placement_stands_beside_the_optimum() -> None:
    given = fixed_placement(PROBLEM, dict.fromkeys("abc", "mobile"))
    lines = render(explain(PROBLEM, given).to_json()).splitlines()
    assert lines[:3] == [
        "feasible: latency 10.5 s (fixed)",
        "  all on the mobile",
        "  the optimum: latency 3.7 s",
    ]
    assert "    1.026 kbit/s to 96 kbit/s  mobile: a; cloud: b; mobile: c (now)" in lines


def test_what_cannot_run_there_and_far_regions() -> None:
    """Many operators, each of which moves at another slowdown of the cloud."""
    operators = [Operator(f"op{i}", SideCost(1.0 + i / 10), SideCost(1.0)) for i in range(12)]
    operators[0] = replace(operators[0], cloud=None)
    tensors = [Tensor(f"t{i}", f"op{i}", (), 0, output=True) for i in range(12)]
    problem = Problem(tuple(operators), tuple(tensors), Link(1, 1))
    text = render(explain(problem).to_json())
    assert "\n  1 more cannot run on the other side\n" in text
    assert "    8 more regions, farther away" in text


def test_a_network_and_its_limits(
    tmp_path: Path, lab: LoopbackLab, jointdnn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {n: np.ones((64, 64), np.float32) for n in ("v", "w")}
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["h"]),
        helper.make_node("Softmax", ["h"], ["s"]),
        helper.make_node("MatMul", ["s", "w"], ["y"]),
    ]
    model = make_model(nodes, {"x": np.ones((1, 64), np.float32)}, ["y"], weights)
    path = save(model, tmp_path)
    words = [path, "--tracker", lab.tracker, "--costs", tmp_path / "costs", "--link", "lan-1g"]

    ended = jointdnn("explain", *words, "--json")
    assert ended.code == 0, ended
    found = json.loads(ended.out)
    assert found["format"] == "jointdnn-explanation/1"
    assert found["sources"]["link"] == "model:lan-1g"
    assert found["sources"]["mobile latency"].startswith("measured:")
    assert set(found["baselines"]) == {"mobile-only", "cloud-only", "neurosurgeon", "dads"}
    assert "mobile latency: measured:" in jointdnn("explain", *words).out

    times = PathTimes(ExchangeTimes(0.02, 8 / 5e6, 8 / 1e7, 0), ExchangeTimes(0.021, 2e-6, 1e-6, 0))
    monkeypatch.setattr(_Pair, "time_path", lambda pair: times)
    plain = ["--codecs", "none", "--json"]
    probed = json.loads(jointdnn("plan", *words[:-1], "probe", *plain).out)
    assert probed["link"] == "probe"
    assert probed["sources"]["link"].startswith("measured:probe from ")
    assert probed["sources"]["crossings"] == "measured:messages"
    assert probed["baselines"]["cloud-only"]["latency_s"] > 0.021 + 256 * (2e-6 + 1e-6)
    assert probed["baselines"]["cloud-only"]["latency_s"] < 0.2

    loose: list[Any] = ["--max-mobile-mb", "1", "--max-cloud-ms", "1e6", "--objective", "energy"]
    limited = json.loads(jointdnn("explain", *words, *loose, "--json").out)
    assert limited["limits"]["max_mobile_bytes"]["limit"] == 1e6
    assert limited["limits"]["max_cloud_s"]["binding"] is False

    tight = ["--deadline-ms", "0.000001"]
    clash = json.loads(jointdnn("plan", *words, *tight, "--json").out)
    assert clash["status"] == "infeasible"
    assert clash["limits"]["max_latency_s"]["value"] == pytest.approx(1e-9)
    assert jointdnn("explain", *words, *tight).out.startswith("infeasible: no placement meets max_")
    line = jointdnn("compile", *words, "-o", tmp_path / "b.jd", *tight).complaint
    assert line.startswith("no placement meets max_latency_s 1e-09: raise max_latency_s to ")
    assert not (tmp_path / "b.jd").exists()

    busy = ["--objective", "throughput", "--placement", "mobile-only"]
    stream = json.loads(jointdnn("plan", *words, *busy, "--json").out)
    assert stream["objective"] == stream["bottleneck_s"]
    line = jointdnn("plan", *words, "--placement", "mobile-only", "--max-mobile-mb", "0").complaint
    assert line.startswith("placement mobile-only breaks max_mobile_bytes 0 (takes ")
