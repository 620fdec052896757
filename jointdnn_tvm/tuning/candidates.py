"""A group compiled with other choices, each in a library of its own, to be tried on a device."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm
from tvm import relax

from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.cost.bench import Workload
from jointdnn_tvm.cost.race import Entrant
from jointdnn_tvm.group_library import arguments, groups_module, symbol
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.choose_kernels import Weight
from jointdnn_tvm.passes.layouts import dims
from jointdnn_tvm.targets import TargetProfile

_building = threading.Lock()  # all block builders of a process share one stack of functions


@dataclass(frozen=True)
class Candidate:
    """A compiled group, and the weights that it takes after its inputs."""

    entrant: Entrant
    weights: tuple[Weight, ...]


def build_candidate(
    network: Network, group: tuple[str, str], profile: TargetProfile, path: Path
) -> Candidate:
    """Compile a group, given by its key and name, as the profile has it decided. BuildError."""
    key, name = group
    taken = compile_library(groups_module(network.grouped, [group]), profile, path)[symbol(key)]
    workload = Workload(key, symbol(key), arguments(network.grouped[name], taken))
    return Candidate(Entrant(path, workload), taken)


def build_packing(
    network: Network, group: str, weights: set[Weight], profile: TargetProfile, path: Path
) -> dict[Weight, Workload]:
    """Compile what packs these weights of a group on the device, a function each. BuildError."""
    types = {p.name: p.ty for p in network.grouped[group].params}
    with _building:
        module, functions = _packing_module(weights, types)
    compile_library(module, profile, path)
    return functions


def _packing_module(
    weights: set[Weight], types: Mapping[str, Any]
) -> tuple[tvm.IRModule, dict[Weight, Workload]]:
    builder = relax.BlockBuilder()
    functions = {}
    for number, weight in enumerate(sorted(weights, key=lambda weight: weight.name)):
        assert weight.packing is not None
        plain = relax.Var("plain", types[weight.source])
        with builder.function(f"pack_{number}", [plain], attrs={"num_input": 1}):
            with builder.dataflow():
                made = builder.emit_output(builder.call_te(weight.packing.compute, plain))
            builder.emit_func_output(made)
        shape = (tuple(dims(plain)), str(plain.ty.dtype))
        functions[weight] = Workload(weight.name, f"pack_{number}", (shape,))
    return builder.finalize(), functions
