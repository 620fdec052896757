"""Distinct groups compiled for measuring, and which of them is at fault when one fails."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi

from jointdnn_tvm import group_library
from jointdnn_tvm.errors import BuildError, LinkError
from jointdnn_tvm.group_library import build_group_libraries
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.choose_kernels import Weights
from jointdnn_tvm.targets import TargetProfile, load_target

HOST = load_target("host")


def keys_of(network: Network) -> list[str]:
    return list(dict.fromkeys(g.key for g in network.graph.groups))


def test_groups_run_on_arguments_of_their_workload(branching: Network, tmp_path: Path) -> None:
    settled: list[int] = []
    keys = keys_of(branching)
    libraries, failures = build_group_libraries(branching, keys, HOST, tmp_path, settled.append)
    assert failures == {}
    assert sum(settled) == len(keys)
    workloads = [w for library in libraries for w in library.workloads]
    assert [w.key for w in workloads] == keys
    rng = np.random.default_rng(0)
    for library in libraries:
        machine = tvm.runtime.vm.VirtualMachine(tvm_ffi.load_module(library.path), tvm.cpu())
        for workload in library.workloads:
            group = next(g for g in branching.graph.groups if g.key == workload.key)
            assert len(workload.arguments) == len(group.inputs) + len(group.weights)
            arguments = [
                tvm.runtime.tensor(np.asarray(rng.standard_normal(shape)).astype(dtype))
                for shape, dtype in workload.arguments
            ]
            result = machine[workload.function](*arguments)
            outputs = [branching.graph.tensor(t) for t in group.outputs]
            results = [result] if len(outputs) == 1 else list(result)
            assert [tuple(r.shape) for r in results] == [t.shape for t in outputs]


@pytest.mark.parametrize("seed", range(5))
def test_groups_at_fault_are_found(
    branching: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    keys = keys_of(branching)
    bad = random.Random(seed).sample(keys, 3)

    def refuse(module: tvm.IRModule, profile: TargetProfile, path: Path) -> Weights:
        names = " ".join(v.name_hint for v in module.functions)
        if any(key[:32] in names for key in bad):
            raise BuildError("this group cannot be built")
        path.write_text(names)
        return {v.name_hint: () for v in module.functions}

    monkeypatch.setattr(group_library, "compile_library", refuse)
    settled: list[int] = []
    libraries, failures = build_group_libraries(branching, keys, HOST, tmp_path, settled.append)
    assert failures == dict.fromkeys(bad, "this group cannot be built")
    assert sorted(w.key for b in libraries for w in b.workloads) == sorted(set(keys) - set(bad))
    assert sum(settled) == len(keys)
    assert len({b.path for b in libraries}) == len(libraries)
    for library in libraries:
        assert all(w.function in library.path.read_text() for w in library.workloads)


def test_many_groups_make_several_libraries(
    branching: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_library, "_GROUPS_A_LIBRARY", 4)
    built: list[Any] = []

    def compile_nothing(module: tvm.IRModule, profile: TargetProfile, path: Path) -> Weights:
        built.append(path)
        return {v.name_hint: () for v in module.functions}

    monkeypatch.setattr(group_library, "compile_library", compile_nothing)
    keys = keys_of(branching)
    libraries, _ = build_group_libraries(branching, keys, HOST, tmp_path, lambda groups: None)
    assert len(libraries) == len(built) == -(-len(keys) // 4)
    assert max(len(library.workloads) for library in libraries) == 4


def test_missing_linker_is_nobodys_fault(branching: Network, tmp_path: Path) -> None:
    lacking = replace(HOST, linker=("no-such-ld",))
    with pytest.raises(LinkError, match="needs the linker no-such-ld"):
        build_group_libraries(branching, keys_of(branching), lacking, tmp_path, lambda groups: None)
    failing = replace(HOST, linker=("false",))
    with pytest.raises(LinkError, match="linking for target host with false failed"):
        build_group_libraries(branching, keys_of(branching)[:1], failing, tmp_path, print)


def test_no_groups(branching: Network, tmp_path: Path) -> None:
    assert build_group_libraries(branching, [], HOST, tmp_path, print) == ([], {})
