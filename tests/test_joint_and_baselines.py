"""The joint plan is never worse than any baseline: real graphs, every link, modelled costs."""

from __future__ import annotations

import pytest

from jointdnn_tvm.placement import all_baselines, solve
from jointdnn_tvm.placement.baselines import BASELINES
from jointdnn_tvm.targets import link_names, load_link
from tests.network_problems import light_graph, modelled_problem
from tests.networks import LIGHT

_HEAVY = ("densenet121", "vgg19")
NETWORKS = [pytest.param(n, marks=pytest.mark.slow if n in _HEAVY else ()) for n in LIGHT]


@pytest.mark.parametrize("name", NETWORKS)
def test_joint_is_never_worse_and_somewhere_better(name: str) -> None:
    graph, most = light_graph(name), 1.0
    for seed, link in enumerate(link_names()):
        for objective in ("latency", "energy"):
            codecs = seed % 2 == 1
            problem = modelled_problem(graph, load_link(link), objective, seed, codecs=codecs)
            answer, baselines = solve(problem), all_baselines(problem)
            assert answer.status == "optimal"
            assert tuple(baselines) == BASELINES
            best = min(baseline.objective for baseline in baselines.values())
            assert answer.objective <= best * (1 + 1e-9), (link, objective)
            most = max(most, best / answer.objective)
    assert most > 1 + 1e-6
