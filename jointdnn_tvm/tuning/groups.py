"""Which kernels the groups of a network hold, and what tuning decided for them."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property

from jointdnn_tvm.compiling import pass_context, tvm_target
from jointdnn_tvm.group_library import groups_module, symbol
from jointdnn_tvm.network import Placeable
from jointdnn_tvm.passes.kernels.choice import Choice
from jointdnn_tvm.passes.kernels.tunable import Tunable, tunable
from jointdnn_tvm.passes.pipeline import kernels_in
from jointdnn_tvm.targets import TargetProfile


def kernels_of_groups(network: Placeable, profile: TargetProfile) -> dict[str, list[Tunable]]:
    """The kernels of each group, by its key, in which there is something to choose."""
    groups = {g.key: g.name for g in network.graph.groups}
    target = tvm_target(profile)
    with target, pass_context(None):
        found = kernels_in(groups_module(network.grouped, list(groups.items())), target, profile)
    distinct = {
        key: {repr(k): k for k in map(tunable, found.get(symbol(key), ())) if k is not None}
        for key in groups
    }
    return {key: list(kernels.values()) for key, kernels in distinct.items()}


class TunedMarks:
    """What tuning changed of a network's code, as a text for each group or stage.

    Groups with other decisions are other code, with other costs; all others keep theirs.
    """

    def __init__(self, network: Placeable, profile: TargetProfile) -> None:
        self._network = network
        self._profile = profile

    def of(self, key: str) -> str:
        """For a group's key, or that of a stage, which counts as made of all; empty: nothing."""
        decided = self._decided.get(key, self._everything)
        return f" tuned {_digest(decided)}" if decided else ""

    @cached_property
    def _decided(self) -> dict[str, dict[str, Choice]]:
        """The choices for each group's kernels."""
        tuned = self._profile.tuned
        if not tuned:
            return {}
        return {
            key: {repr(k): tuned[repr(k)] for k in kernels if repr(k) in tuned}
            for key, kernels in kernels_of_groups(self._network, self._profile).items()
        }

    @cached_property
    def _everything(self) -> dict[str, Choice]:
        return {kernel: c for found in self._decided.values() for kernel, c in found.items()}


def _digest(decided: dict[str, Choice]) -> str:
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()[:16]
