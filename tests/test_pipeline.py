"""All passes in their order, from a network to kernels of one target."""

from __future__ import annotations

import pytest
from tvm import relax, tirx

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.graph import split_into_stages
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.pipeline import grouping, lower, partitioning
from jointdnn_tvm.passes.read_graph import read_graph
from jointdnn_tvm.targets import load_target
from tests.tiny_models import interleaved, relax_main

op = relax.op


def test_dead_operators_make_no_group() -> None:
    def body(builder: relax.BlockBuilder, x: relax.Var) -> list[relax.Expr]:
        builder.emit(op.nn.softmax(x))
        return [builder.emit(op.nn.relu(x))]

    graph = read_graph(grouping()(relax_main({"x": (2, 8)}, {}, body)))
    assert [g.operators for g in graph.groups] == [("relu",)]


@pytest.mark.parametrize("name", ["host", "raspberry-pi-4", "android-arm64"])
def test_stages_become_scheduled_kernels(branching: Network, name: str) -> None:
    profile = load_target(name)
    placement = interleaved(branching)
    module = partitioning(placement)(branching.grouped)
    target = tvm_target(profile)
    with target:
        lowered, _ = lower(module, target, profile)
    assert relax.analysis.check_well_formed(lowered)
    kernels = [f for f in lowered.functions.values() if isinstance(f, tirx.PrimFunc)]
    plain = [k for k in kernels if "tirx.is_scheduled" not in k.attrs]
    assert len(kernels) > 5
    assert not plain
    public = {v.name_hint for v, f in lowered.functions.items() if isinstance(f, relax.Function)}
    assert public == {s.name for s in split_into_stages(branching.graph, placement)}


def test_elementwise_operators_fuse_into_the_convolution(branching: Network) -> None:
    profile = load_target("host")
    target = tvm_target(profile)
    placement = dict.fromkeys((g.name for g in branching.graph.groups), "mobile")
    with target:
        module = partitioning(placement)(branching.grouped)  # type: ignore[arg-type]
        lowered, _ = lower(module, target, profile)
    names = {v.name_hint for v, f in lowered.functions.items() if isinstance(f, tirx.PrimFunc)}
    assert any("convolution" in n and "relu" in n for n in names)
    assert not any(n in ("relu", "add") for n in names)


def test_the_module_that_goes_in_stays_as_it_is(branching: Network) -> None:
    before = branching.grouped.script(show_meta=True)
    partitioning(interleaved(branching))(branching.grouped)
    assert branching.grouped.script(show_meta=True) == before
