"""Stages as CUDA graphs: what is captured, and that it computes the same again and again.

No GPU is needed: what TVM's runtime does with a graph, capture and replay, is replaced by running
the captured function, with the memory that is kept between runs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tvm
import tvm_ffi

from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.cuda.compilers import ELF
from jointdnn_tvm.network import load_network
from jointdnn_tvm.targets import load_target
from tests.cuda_machine import needs_cuda_compiler
from tests.gpu_on_cpu import lower_for, machine_on_cpu
from tests.test_gpu_networks import whole
from tests.tiny_models import branching_model

RUN, KEPT = "vm.builtin.cuda_graph.run_or_capture", "vm.builtin.cuda_graph.get_cached_alloc"


class Graphs:
    """The two functions of TVM's CUDA runtime that graphs need, without graphs."""

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}
        self.runs = 0
        self._invoke = tvm.get_global_func("vm.builtin.invoke_closure")
        tvm_ffi.register_global_func(KEPT, self.kept, override=True)
        tvm_ffi.register_global_func(RUN, self.run, override=True)

    def kept(self, machine: Any, allocate: Any, index: int) -> Any:
        if index not in self._kept:
            self._kept[index] = self._invoke(machine, allocate)
        return self._kept[index]

    def run(self, machine: Any, captured: Any, arguments: Any, _index: int) -> Any:
        self.runs += 1
        return self._invoke(machine, captured, *arguments)


def test_answers_of_one_query_after_the_other(tmp_path: Path) -> None:
    file = branching_model(tmp_path)
    network = load_network(file)
    session = onnxruntime.InferenceSession(str(file))
    graphs = Graphs()
    lowered = lower_for("cuda-sm80", whole(network), cuda_graphs=True)
    machine = machine_on_cpu("cuda-sm80", lowered, tmp_path)
    weights = [network.weights[p.name] for p in network.grouped["main"].params[2:]]
    rng = np.random.default_rng(0)
    for _ in range(3):
        inputs = {s.name: rng.standard_normal(s.shape).astype("float32") for s in network.inputs}
        arrays = [tvm.runtime.tensor(array) for array in (*inputs.values(), *weights)]
        found = machine["main"](*arrays)
        for f, e in zip(found, session.run(None, inputs), strict=True):
            np.testing.assert_allclose(f.numpy(), e, rtol=0, atol=1e-5 * max(1, np.abs(e).max()))
    assert graphs.runs >= 3


@needs_cuda_compiler
@pytest.mark.parametrize("graphs", [False, True])
def test_only_who_asks_gets_them(graphs: bool, tmp_path: Path) -> None:
    profile = load_target("cuda-sm90")
    assert not profile.cuda_graphs
    host = {"kind": "llvm"}
    profile = replace(
        profile,
        cuda_graphs=graphs,
        linker=("cc",),
        tvm_target={**profile.tvm_target, "host": host},
    )
    compile_library(whole(load_network(branching_model(tmp_path))), profile, tmp_path / "stage.so")
    library = (tmp_path / "stage.so").read_bytes()
    assert ELF in library[1:]
    assert (RUN.encode() in library) == graphs
