"""The flow in one call, and a step at a time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import jointdnn_tvm as jd
from jointdnn_tvm.cost import transfer
from jointdnn_tvm.network import Network
from jointdnn_tvm.verify import Reference, compare


def test_compile_is_the_steps_in_a_row(
    branching_path: Path, branching: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_STRAY", math.inf)  # what a busy machine tells is kept too
    database = tmp_path / "costs"
    bundle = jd.compile(branching_path, link="lan-1g", placement="random:4", database=database)
    bundle.save(tmp_path / "model.jd")
    plan = dict(bundle.manifest.plan)
    assert plan["newly_measured"] > 0
    assert {stage.side for stage in bundle.manifest.stages} == {"mobile", "cloud"}

    costs = jd.measure(branching, database=database)
    costs = jd.measure_stages(branching, plan["placement"], costs, database=database)
    assert costs.measured == 0
    again = jd.plan(branching, costs, link=jd.link("lan-1g"), placement="random:4")
    assert dict(again.answer.placement) == plan["placement"]
    assert again.answer.latency_s == plan["latency_s"]
    assert jd.build(branching, again).manifest.stages == bundle.manifest.stages

    best = jd.plan(branching, costs, link="lan-1g").answer
    baselines = [plan["baselines"][n]["latency_s"] for n in ("mobile-only", "cloud-only")]
    assert best.status == "optimal"
    assert best.latency_s <= min(*baselines, plan["latency_s"])

    generator = np.random.default_rng(0)
    inputs = {s.name: generator.standard_normal(s.shape, "f4") for s in branching.inputs}
    with jd.open_session(tmp_path / "model.jd", cloud="local") as session:
        answer = session.run(inputs)
    assert compare(answer, Reference(branching_path).run(inputs)).max_rel_error < 1e-5
