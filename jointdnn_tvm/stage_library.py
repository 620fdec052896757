"""Whole stages compiled into a library: to run, or to be measured as they will run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm
from tvm import relax

from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.cost.bench import Workload
from jointdnn_tvm.graph import stage_key, whole_network
from jointdnn_tvm.group_library import GroupLibrary, arguments
from jointdnn_tvm.network import Placeable
from jointdnn_tvm.passes.choose_kernels import Weights
from jointdnn_tvm.targets import TargetProfile


def compile_stages(
    module: tvm.IRModule,
    names: Sequence[str],
    profile: TargetProfile,
    path: Path,
    *,
    dump_ir: Path | None = None,
) -> Weights:
    """Compile these stages of a partitioned module; the weights that each takes. BuildError."""
    return compile_library(only_stages(module, names), profile, path, dump_ir=dump_ir)


def build_whole_network(network: Placeable, profile: TargetProfile, path: Path) -> GroupLibrary:
    """Compile all groups as one stage, which is the library's only function.

    BuildError says why that fails, LinkError that nothing can be linked.
    """
    graph = network.graph
    stage = whole_network(graph)
    module = network.partitioned({g.name: stage.side for g in graph.groups})
    weights = compile_stages(module, [stage.name], profile, path)
    taken = arguments(module[stage.name], weights[stage.name])
    return GroupLibrary(path, (Workload(stage_key(graph, stage), stage.name, taken, weighty=True),))


def only_stages(module: tvm.IRModule, names: Sequence[str]) -> tvm.IRModule:
    """Keep the public functions `names`, and the private ones that they reach."""
    public = {
        v: f for v, f in module.functions.items() if v.name_hint in names or not _is_public(f)
    }
    part = tvm.IRModule(public, attrs=module.attrs)
    return relax.transform.DeadCodeElimination(list(names))(part)


def _is_public(function: Any) -> bool:
    return isinstance(function, relax.Function) and "global_symbol" in (function.attrs or {})
