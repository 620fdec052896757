"""The whole network as one function to measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tvm
import tvm_ffi

from jointdnn_tvm.graph import stage_key, whole_network
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.pipeline import partitioning
from jointdnn_tvm.stage_library import build_stage
from jointdnn_tvm.targets import load_target


def test_the_whole_network_runs_on_arguments_of_its_workload(
    branching: Network, tmp_path: Path
) -> None:
    graph = branching.graph
    whole = whole_network(graph)
    module = partitioning(dict.fromkeys(whole.groups, whole.side))(branching.grouped)
    key = stage_key(graph, whole)
    library = build_stage(module, whole.name, key, load_target("host"), tmp_path / "whole.so")
    (workload,) = library.workloads
    assert workload.key == key
    machine = tvm.runtime.vm.VirtualMachine(tvm_ffi.load_module(library.path), tvm.cpu())
    rng = np.random.default_rng(0)
    arguments = [
        tvm.runtime.tensor(np.asarray(rng.standard_normal(shape)).astype(dtype))
        for shape, dtype in workload.arguments
    ]
    results = list(machine[workload.function](*arguments))
    assert [tuple(r.shape) for r in results] == [
        t.shape for t in graph.tensors if t.output and t.producer
    ]
    assert all(np.isfinite(r.numpy()).all() for r in results)
