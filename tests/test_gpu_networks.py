"""Whole networks compiled for three generations of GPUs, down to machine code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tvm

from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.cuda.compilers import ELF
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.targets import load_target
from tests.cubin import HMMA, kernels_in
from tests.cuda_machine import needs_cuda_compiler
from tests.gpu_on_cpu import GPUS, kernels, lower_for, run_on_cpu
from tests.networks import LIGHT, SHAPES, TRAINED, light_network, trained_network
from tests.tiny_models import branching_model

FEW_REGISTERS_BYTES = 32  # that ptxas keeps in memory in a few kernels, to have more blocks

IN_GROUPS = "shufflenet"  # no convolution of which is one large product


def whole(network: Network) -> tvm.IRModule:
    """A network as one public function."""
    functions = dict(network.grouped.functions.items())
    return tvm.IRModule(
        {
            var: f.with_attr("global_symbol", "main") if var.name_hint == "main" else f
            for var, f in functions.items()
        }
    )


def build(network: Network, name: str, path: Path) -> bytes:
    """A library for a GPU whose host code is for this machine's linker."""
    profile = load_target(name)
    host = {"kind": "llvm"}
    profile = replace(profile, linker=("cc",), tvm_target={**profile.tvm_target, "host": host})
    compile_library(whole(network), profile, path)
    return path.read_bytes()


def file_of(name: str, folder: Path) -> Path:
    return trained_network(name) if name in TRAINED else light_network(name, folder)


def answers(network: Network, file: Path, name: str, inputs: Mapping[str, np.ndarray]) -> float:
    """How far the kernels' answers are from onnxruntime's, relative to the largest number."""
    session = onnxruntime.InferenceSession(str(file))
    expected = session.run(None, {k: v for k, v in inputs.items()})
    main = network.grouped["main"]
    count = int(main.attrs["num_input"])
    arrays = [*inputs.values(), *(network.weights[p.name] for p in main.params[count:])]
    found = run_on_cpu(name, whole(network), arrays)
    return max(
        float(np.abs(f - e).max() / max(1e-30, np.abs(e).max()))
        for f, e in zip(found, expected, strict=True)
    )


@needs_cuda_compiler
@pytest.mark.parametrize("name", GPUS)
def test_small_network_becomes_machine_code(name: str, tmp_path: Path) -> None:
    network = load_network(branching_model(tmp_path))
    library = build(network, name, tmp_path / "branching.so")
    assert ELF in library[1:]
    assert b"__global__" not in library


@needs_cuda_compiler
@pytest.mark.slow
@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("name", [*LIGHT, *(n for n in TRAINED if n != "ddddocr_old")])
def test_network_becomes_machine_code(name: str, gpu: str, tmp_path: Path) -> None:
    network = load_network(file_of(name, tmp_path), shapes=SHAPES.get(name, {}))
    for kernel_name, kernel in kernels(lower_for(gpu, whole(network))).items():
        script = kernel.script()
        assert "thread_binding" in script or "launch_thread" in script, kernel_name
    library = build(network, gpu, tmp_path / "network.so")
    assert b"__global__" not in library
    compiled = kernels_in(library[library.index(ELF, 1) :])
    assert all(kernel.stack_bytes <= FEW_REGISTERS_BYTES for kernel in compiled.values())
    on_tensor_cores = [kernel for kernel in compiled.values() if kernel.instructions[HMMA]]
    assert on_tensor_cores or name in (*TRAINED, IN_GROUPS)


def test_small_network_answers(tmp_path: Path) -> None:
    file = branching_model(tmp_path)
    rng = np.random.default_rng(0)
    network = load_network(file)
    inputs = {s.name: rng.standard_normal(s.shape).astype("float32") for s in network.inputs}
    assert answers(network, file, "cuda-sm90", inputs) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rnet", "onet", "squeezenet", "shufflenet", "ppocr_cls"])
def test_network_answers(name: str, tmp_path: Path) -> None:
    file = file_of(name, tmp_path)
    network = load_network(file, shapes=SHAPES.get(name, {}))
    rng = np.random.default_rng(0)
    inputs = {s.name: rng.standard_normal(s.shape).astype("float32") for s in network.inputs}
    assert answers(network, file, "cuda-sm90", inputs) < 1e-4
