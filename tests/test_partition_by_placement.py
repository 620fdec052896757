"""Stages run in order give what the whole network gives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import tvm
from tvm import relax

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.graph import Graph, split_into_stages
from jointdnn_tvm.passes.attributes import PLACEMENT
from jointdnn_tvm.passes.pipeline import grouping, lower, partitioning
from jointdnn_tvm.passes.read_graph import read_graph
from jointdnn_tvm.placement import Side
from jointdnn_tvm.targets import load_target
from tests.tiny_models import (
    Array,
    random_arrays,
    random_module,
    random_placement,
    relax_main,
)


def run_stages(
    module: tvm.IRModule, graph: Graph, placement: Mapping[str, Side], arrays: dict[str, Array]
) -> list[Array]:
    """Partition, lower as a bundle's side is lowered, and run stage by stage."""
    profile = load_target("host")
    target = tvm_target(profile)
    with target:
        stages, weights = lower(partitioning(placement)(module), target, profile)
        machine = relax.VirtualMachine(tvm.compile(stages, target, relax_pipeline=None), tvm.cpu())
    held = {n: tvm.runtime.tensor(arrays[n]) for n in graph.inputs}
    for stage in split_into_stages(graph, placement):
        arguments = [held[t] for t in stage.inputs]
        arguments += [tvm.runtime.tensor(w.of(arrays)) for w in weights[stage.name]]
        held.update(zip(stage.outputs, machine[stage.name](*arguments), strict=True))
    return [held[t].numpy() for t in graph.outputs]


@pytest.mark.parametrize("seed", range(5))
def test_stages_give_what_the_whole_gives(seed: int) -> None:
    network = random_module(seed + 100, length=20)
    grouped = grouping()(network)
    graph = read_graph(grouped)
    names = [g.name for g in graph.groups]
    arrays = random_arrays(network, seed)
    whole = run_stages(grouped, graph, dict.fromkeys(names, "mobile"), arrays)
    split = run_stages(grouped, graph, random_placement(names, seed), arrays)
    for found, expected in zip(split, whole, strict=True):
        # What fuses decides where a product and a sum round once instead of twice.
        scale = float(np.abs(expected).max(initial=0))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * scale)


def test_expected_stages() -> None:
    op = relax.op

    def body(builder: relax.BlockBuilder, *params: relax.Var) -> list[relax.Expr]:
        x, w0, w1 = params
        hidden = builder.emit(op.matmul(x, w0))
        gate = builder.emit(op.nn.softmax(hidden))
        return [builder.emit(op.matmul(gate, w1)), hidden]

    grouped = grouping()(relax_main({"x": (2, 8)}, {"w0": (8, 8), "w1": (8, 3)}, body))
    placement: dict[str, Side] = {"matmul_0": "mobile", "softmax_1": "cloud", "matmul_2": "mobile"}
    module = partitioning(placement)(grouped)
    stages = {
        v.name_hint: f for v, f in module.functions.items() if v.name_hint.startswith("stage")
    }
    described = {
        name: ([p.name for p in f.params], str(f.attrs[PLACEMENT]), _shapes(f))
        for name, f in stages.items()
    }
    assert described == {
        "stage_0_mobile": (["x", "w0"], "mobile", [(2, 8)]),
        "stage_1_cloud": (["matmul_0_out"], "cloud", [(2, 8)]),
        "stage_2_mobile": (["softmax_1_out", "w1"], "mobile", [(2, 3)]),
    }
    assert relax.analysis.check_well_formed(module)
    assert "main" not in {v.name_hint for v in module.functions}


def _shapes(function: relax.Function) -> list[tuple[int, ...]]:
    return [tuple(int(d) for d in field.shape) for field in function.ret_ty.fields]


def test_stage_returns_only_what_others_read() -> None:
    network = random_module(7, length=20)
    grouped = grouping()(network)
    graph = read_graph(grouped)
    placement = random_placement([g.name for g in graph.groups], 7)
    module = partitioning(placement)(grouped)
    for stage in split_into_stages(graph, placement):
        function = module[stage.name]
        assert [p.name for p in function.params] == [*stage.inputs, *stage.weights]
        assert len(function.ret_ty.fields) == len(stage.outputs)


def test_group_without_a_side_is_an_error() -> None:
    grouped = grouping()(random_module(1))
    with pytest.raises(RuntimeError, match="no side for group"):  # what TVM makes of errors
        partitioning({})(grouped)
