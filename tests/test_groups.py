"""Which kernels groups hold, and whose code tuning changes."""

from __future__ import annotations

from dataclasses import replace

from jointdnn_tvm.graph import stage_key, whole_network
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.kernels.convolution import Convolution
from jointdnn_tvm.passes.kernels.pooling import Pooling
from jointdnn_tvm.targets import load_target
from jointdnn_tvm.tuning.groups import TunedMarks, kernels_of_groups

HOST = load_target("host")


def test_every_convolution_and_pool_is_found(branching: Network) -> None:
    found = kernels_of_groups(branching, HOST)
    assert found.keys() == {group.key for group in branching.graph.groups}
    kernels = [kernel for kernels in found.values() for kernel in kernels]
    assert sum(isinstance(kernel, Convolution) for kernel in kernels) == 4  # one is the dense layer
    assert sum(isinstance(kernel, Pooling) for kernel in kernels) == 1
    (first,) = found[branching.graph.groups[1].key]
    assert first == Convolution((1, 8, 8, 3), (3, 3, 3, 8), padding=(1, 1, 1, 1))


def test_marks_are_those_of_what_changes(branching: Network) -> None:
    graph = branching.graph
    first, whole = graph.groups[1].key, stage_key(graph, whole_network(graph))
    others = {group.key for group in graph.groups} - {first}
    (kernel,) = kernels_of_groups(branching, HOST)[first]

    def marks(tuned: dict[str, dict[str, int]]) -> TunedMarks:
        return TunedMarks(branching, replace(HOST, tuned=tuned))

    for nothing in (marks({}), marks({"another": {"rows": 2}})):
        assert {nothing.of(key) for key in (first, whole, *others)} == {""}
    one, other = (marks({repr(kernel): {"rows": rows}}) for rows in (2, 3))
    assert {one.of(key) for key in others} == {""}
    assert len({one.of(first), other.of(first), ""}) == 3
    assert len({one.of(whole), other.of(whole), ""}) == 3
