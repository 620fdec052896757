"""A placement becomes an attribute of every group."""

from __future__ import annotations

import pytest
import tvm
from tvm import relax

from jointdnn_tvm.building import build
from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.passes.annotate_placement import AnnotatePlacement
from jointdnn_tvm.passes.attributes import PLACEMENT
from jointdnn_tvm.passes.read_graph import read_graph, read_placement
from jointdnn_tvm.placement import Side
from tests.tiny_models import branching_model, plan_of, random_placement


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return load_network(branching_model(tmp_path_factory.mktemp("models")))


def annotate(network: Network, placement: dict[str, Side]) -> tvm.IRModule:
    return tvm.transform.Sequential([AnnotatePlacement(placement)])(network.grouped)


@pytest.mark.parametrize("seed", range(5))
def test_groups_carry_their_side_and_nothing_else_changes(network: Network, seed: int) -> None:
    placement = random_placement([g.name for g in network.graph.groups], seed)
    module = annotate(network, placement)
    assert read_placement(module) == placement
    assert read_graph(module) == network.graph
    plain = {
        v: f.without_attr(PLACEMENT) if f.attrs and PLACEMENT in f.attrs else f
        for v, f in module.functions.items()
    }
    tvm.ir.assert_structural_equal(tvm.IRModule(plain, attrs=module.attrs), network.grouped)
    first = network.graph.groups[0].name
    assert f'"{PLACEMENT}": "{placement[first]}"' in module[first].script()


def test_placement_that_does_not_fit_is_an_error(network: Network) -> None:
    good = random_placement([g.name for g in network.graph.groups], 0)
    with pytest.raises(RuntimeError, match="names group 'other'"):  # what TVM makes of errors
        annotate(network, {**good, "other": "mobile"})


def test_build_reports_it_as_our_own_error(network: Network) -> None:
    good = random_placement([g.name for g in network.graph.groups], 0)
    plan = plan_of(network, good)
    plan.answer.placement.popitem()
    with pytest.raises(ProblemError, match="has no side for group"):
        build(network, plan)


def test_annotated_module_is_well_formed(network: Network) -> None:
    placement = random_placement([g.name for g in network.graph.groups], 3)
    assert relax.analysis.check_well_formed(annotate(network, placement))
