"""Stages compiled and linked for each side, and what goes wrong on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tvm

from jointdnn_tvm.building import build
from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.errors import BuildError
from jointdnn_tvm.graph import split_into_stages
from jointdnn_tvm.network import Network
from jointdnn_tvm.placement import SIDES, Side
from tests.tiny_models import interleaved, plan_of


def all_on(network: Network, side: Side) -> dict[str, Side]:
    return dict.fromkeys((g.name for g in network.graph.groups), side)


def test_manifest_describes_stages_ports_and_tensors(branching: Network, built: Bundle) -> None:
    manifest = built.manifest
    placement = interleaved(branching)
    stages = split_into_stages(branching.graph, placement)
    assert len(stages) >= 5
    assert [(s.name, s.side, s.inputs, s.outputs) for s in manifest.stages] == [
        (s.name, s.side, s.inputs, s.outputs) for s in stages
    ]
    assert [p.name for p in manifest.inputs] == ["image", "bias"]
    assert [p.name for p in manifest.outputs] == ["scores", "best", "joined"]
    tensors = {p.tensor for p in (*manifest.inputs, *manifest.outputs)}
    tensors |= {t for s in stages for t in (*s.inputs, *s.outputs)}
    assert manifest.tensors.keys() == tensors
    for name, entry in manifest.tensors.items():
        tensor = branching.graph.tensor(name)
        assert (entry.shape, entry.dtype) == (tensor.shape, tensor.dtype)
    assert manifest.versions["tvm"] == tvm.__version__
    assert manifest.plan["placement"] == placement


def test_manifest_names_the_codecs_of_what_crosses(branching: Network) -> None:
    (image, _) = branching.graph.inputs
    plan = plan_of(branching, all_on(branching, "cloud"), {image: "pixels"})
    made = build(branching, plan, fallback=False)
    assert {n: t.codec for n, t in made.manifest.tensors.items() if t.codec != "none"} == {
        image: "pixels"
    }
    assert made.manifest.codecs == ["pixels"]


def test_each_side_has_the_weights_of_its_stages(branching: Network, built: Bundle) -> None:
    for side, half in built.halves.items():
        named = {w for s in built.manifest.stages_on(side) for w in s.weights[side]}
        assert named == half.weights.keys()
        assert all(s.weights.keys() >= {side} for s in built.manifest.stages_on(side))
    sources = {name.partition(".")[0] for name in built.halves["mobile"].weights}
    assert sources == branching.weights.keys()
    assert built.halves["cloud"].weights.keys() < built.halves["mobile"].weights.keys()


def test_weights_are_packed_for_each_target(branching: Network) -> None:
    plan = plan_of(branching, all_on(branching, "cloud"))
    made = build(branching, replace(plan, cloud=replace(plan.cloud, vector_bits=64)))
    mobile, cloud = made.halves["mobile"].weights, made.halves["cloud"].weights
    assert mobile.keys() != cloud.keys()
    assert {n.partition(".")[0] for n in mobile} == {n.partition(".")[0] for n in cloud}


def test_sides_of_one_target_share_the_library(branching: Network, built: Bundle) -> None:
    assert built.halves["cloud"].library == built.halves["mobile"].library
    plan = plan_of(branching, interleaved(branching))
    apart = build(branching, replace(plan, cloud=replace(plan.cloud, vector_registers=8)))
    assert apart.halves["cloud"].library != apart.halves["mobile"].library
    assert len(apart.halves["cloud"].library) < len(apart.halves["mobile"].library)


@pytest.mark.parametrize("side", SIDES)
def test_one_sided_placement_without_fallback_has_one_half(branching: Network, side: Side) -> None:
    made = build(branching, plan_of(branching, all_on(branching, side)), fallback=False)
    assert set(made.halves) == {side}
    assert not made.manifest.fallback


def test_dump_shows_the_module_after_every_pass(branching: Network, tmp_path: Path) -> None:
    plan = plan_of(branching, all_on(branching, "mobile"))
    build(branching, plan, dump_ir=tmp_path / "ir")
    dumped = {p.name for p in (tmp_path / "ir").iterdir()}
    assert dumped == {"partitioning", "mobile"}
    texts = "".join(p.read_text() for p in (tmp_path / "ir" / "partitioning").iterdir())
    assert '"jointdnn.placement": "mobile"' in texts
    assert any("ScheduleForCpu" in p.name for p in (tmp_path / "ir" / "mobile").iterdir())


def test_dump_that_cannot_be_written(branching: Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BuildError, match=r"cannot be written \(.*choose another --dump-ir"):
        build(branching, plan_of(branching, interleaved(branching)), dump_ir=tmp_path / "file")
