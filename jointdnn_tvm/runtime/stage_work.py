"""Which stages of a step are run for what, and how long their tensors are needed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from jointdnn_tvm.runtime.cloud_calls import CloudCalls
from jointdnn_tvm.runtime.manifest import Manifest, StageEntry


class StageWork:
    """Stages, run one after the other for what is `wanted` of them.

    The phone needs that and `others`, beside what its stages read.
    """

    def __init__(
        self,
        manifest: Manifest,
        stages: Sequence[StageEntry],
        wanted: Collection[str],
        others: Iterable[str] = (),
    ) -> None:
        self.stages = stages
        self.wanted = wanted
        self.calls = CloudCalls(manifest, [*wanted, *others])
        self.unread = read_last(stages, wanted)


def read_last(stages: Sequence[StageEntry], wanted: Iterable[str]) -> dict[str, set[str]]:
    """For each stage, the tensors that nothing reads behind it, and that are not wanted then."""
    unread: dict[str, set[str]] = {}
    read_later = set(wanted)
    for stage in reversed(stages):
        there = {*stage.inputs, *stage.outputs}
        unread[stage.name] = there - read_later
        read_later |= set(stage.inputs)
    return unread


def needed_stages(stages: Sequence[StageEntry], wanted: Iterable[str]) -> list[StageEntry]:
    """The stages without which these tensors are not there."""
    needed: list[StageEntry] = []
    read = set(wanted)
    for stage in reversed(stages):
        if not read.isdisjoint(stage.outputs):
            needed.insert(0, stage)
            read |= set(stage.inputs)
    return needed
