"""Which kernels are worth tuning, by times that are given."""

from __future__ import annotations

from dataclasses import replace

from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.network import Network
from jointdnn_tvm.targets import load_target
from jointdnn_tvm.tuning.groups import kernels_of_groups
from jointdnn_tvm.tuning.subjects import find_subjects

HOST = load_target("host")


def timed(seconds: float) -> Measurement:
    return Measurement(seconds, 0.0, 6, None, "measured")


def test_those_with_most_to_gain_come_first(branching: Network) -> None:
    kernels = kernels_of_groups(branching, HOST)
    keys = [group.key for group in branching.graph.groups if kernels[group.key]]
    measured = {group.key: timed(1e-9) for group in branching.graph.groups}
    measured[keys[1]], measured[keys[0]] = timed(1.0), timed(0.5)
    found = find_subjects(branching, HOST, measured)
    assert [subject.group[0] for subject in found] == [keys[1], keys[0]]
    assert found[0].latency_s == found[0].total_s == 1.0
    groups = {group.key: group for group in branching.graph.groups}
    assert [s.joined for s in found] == [len(groups[k].operators) > 1 for k in (keys[1], keys[0])]
    assert 0.9 < found[0].spare_s < 1.0
    measured[keys[1]] = Measurement.failure("no memory", "measured")
    assert [s.group[0] for s in find_subjects(branching, HOST, measured)] == [keys[0]]


def test_what_the_target_allows_is_nothing_to_gain(branching: Network) -> None:
    slow = replace(HOST, peak_flops=1.0, bandwidth_bytes_per_s=1.0)
    measured = {group.key: timed(1.0) for group in branching.graph.groups}
    assert find_subjects(branching, slow, measured) == []
