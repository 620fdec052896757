"""Which kernels of a network are worth tuning: those with much time that could be gained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jointdnn_tvm.cost.count_work import count_work
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.roofline import latency_s
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.kernels.convolution import Convolution
from jointdnn_tvm.passes.kernels.winograd import fast_algorithms
from jointdnn_tvm.targets import TargetProfile
from jointdnn_tvm.tuning.groups import kernels_of_groups

_WORTH = 0.005  # of the network's time
_WINOGRAD = 4  # times fewer multiplications of F(4 x 4, 3 x 3)


@dataclass(frozen=True)
class Subject:
    """A kernel, the group in which it is tried, and what it costs the network.

    `group` is that of its groups which takes longest, its key and a name, with `latency_s` each;
    `joined` if there are other operators in it, which may join the kernel.
    `total_s` is what all its groups take in a query; `spare_s` of it is over what the target's
    peak and bandwidth allow.
    """

    kernel: Any
    group: tuple[str, str]
    joined: bool
    latency_s: float
    total_s: float
    spare_s: float


def find_subjects(
    network: Network, profile: TargetProfile, measured: Mapping[str, Measurement]
) -> list[Subject]:
    """The kernels worth tuning, from where most can be gained; by the groups' measured times."""
    found: dict[str, list[Subject]] = {}
    of_group = kernels_of_groups(network, profile)
    whole_s = 0.0
    for group in network.graph.groups:
        taken_s = measured[group.key].latency_s
        if taken_s is None:
            continue
        whole_s += taken_s
        for kernel in of_group[group.key]:
            spare_s = max(0.0, taken_s - _least_s(network, group.name, kernel, profile))
            joined = len(group.operators) > 1
            names = group.key, group.name
            subject = Subject(kernel, names, joined, taken_s, taken_s, spare_s)
            found.setdefault(repr(kernel), []).append(subject)
    subjects = map(_together, found.values())
    worth = (s for s in subjects if s.spare_s > _WORTH * whole_s)
    return sorted(worth, key=lambda s: s.spare_s, reverse=True)


def _together(subjects: list[Subject]) -> Subject:
    slowest = max(subjects, key=lambda s: s.latency_s)
    total_s, spare_s = sum(s.total_s for s in subjects), sum(s.spare_s for s in subjects)
    return replace(slowest, total_s=total_s, spare_s=spare_s)


def _least_s(network: Network, group: str, kernel: Any, profile: TargetProfile) -> float:
    bound_s = latency_s(count_work(network.grouped[group]), profile)
    fast = isinstance(kernel, Convolution) and bool(fast_algorithms(kernel))
    return bound_s / _WINOGRAD if fast else bound_s
