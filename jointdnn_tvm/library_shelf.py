"""The libraries that are measured: distinct groups, and stages as wholes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import tvm

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.errors import BuildError, LinkError
from jointdnn_tvm.graph import Placement, Stage, split_into_stages, stage_key
from jointdnn_tvm.group_library import GroupLibrary, build_group_libraries
from jointdnn_tvm.network import Placeable
from jointdnn_tvm.stage_library import build_stage
from jointdnn_tvm.targets import TargetProfile

Progress = Callable[[str, int, int], None]  # what is being done, how many done, of how many


class LibraryShelf:
    """The libraries built so far: sides with the same target share them.

    They hold groups of the network, and stages into which `placement` splits it.
    """

    def __init__(
        self, network: Placeable, placement: Placement, folder: Path, report: Progress
    ) -> None:
        self._network = network
        self._placement = placement
        self._folder = folder
        self._report = report
        self._built: dict[str, tuple[set[str], list[GroupLibrary], dict[str, str]]] = {}

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """One stage of each key."""
        graph = self._network.graph
        return {stage_key(graph, s): s for s in split_into_stages(graph, self._placement)}

    @cached_property
    def _module(self) -> tvm.IRModule:
        return self._network.partitioned(self._placement)

    def libraries(
        self, profile: TargetProfile, keys: Sequence[str]
    ) -> tuple[list[GroupLibrary], dict[str, str]]:
        """Libraries that hold at least what has these keys, and why others did not build."""
        target = f"{target_key(profile)} {profile.tuned}"
        built, libraries, failures = self._built.setdefault(target, (set(), [], {}))
        missing = [k for k in keys if k not in built]
        done = 0

        def count(groups: int) -> None:
            nonlocal done
            done += groups
            self._report(f"compiling groups for {profile.name}", done, len(missing))

        folder = Path(tempfile.mkdtemp(dir=self._folder))
        groups = [k for k in missing if k not in self.stages]
        made, failed = build_group_libraries(self._network, groups, profile, folder, count)
        for key in missing:
            if key in self.stages:
                try:
                    made.append(self._build_stage(key, profile, folder))
                except LinkError:
                    raise
                except BuildError as error:
                    failed[key] = str(error)
                count(1)
        built.update(missing)
        libraries += made
        failures.update(failed)
        return libraries, failures

    def _build_stage(self, key: str, profile: TargetProfile, folder: Path) -> GroupLibrary:
        stage = self.stages[key]
        return build_stage(self._module, stage.name, key, profile, folder / f"{stage.name}.so")


def target_key(profile: TargetProfile) -> str:
    """What the code of a group depends on, of its target."""
    facts: tuple[float, ...] = (
        *(profile.lanes, profile.vector_registers, profile.fma_ports, profile.fma_latency),
        *(profile.l1d_bytes, profile.l2_bytes, profile.l3_bytes),
    )
    if profile.kind == "cuda":
        facts += (profile.cores, profile.clock_hz, profile.bandwidth_bytes_per_s)
        facts += (profile.peak_flops, profile.tensor_flops, profile.cuda_graphs)
    return f"{tvm_target(profile).export()} {facts}"
