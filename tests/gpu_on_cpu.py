"""Kernels lowered for a GPU: run on this machine's CPU by `cuda_emulator.py`, and compiled."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx

from jointdnn_tvm.compiling import pass_context, separate_kernels, tvm_target
from jointdnn_tvm.cuda.compilers import compile_cubin, find_cuda_compiler
from jointdnn_tvm.passes.blocks_to_gpu_code import BLOCKS_TO_GPU_CODE
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.targets import load_target
from tests.cuda_emulator import cuda_source, emulate
from tests.kernel_cases import Case
from tests.tiny_models import relax_main

Array = np.ndarray[Any, Any]
GPUS = ("cuda-sm80", "cuda-sm87", "cuda-sm90")


def module_of(case: Case) -> tvm.IRModule:
    """The operators of a case as `main`."""
    inputs = {f"x{i}": shape for i, shape in enumerate(case.inputs)}
    weights = {f"w{i}": shape for i, shape in enumerate(case.weights)}

    def body(builder: relax.BlockBuilder, *params: relax.Var) -> list[relax.Expr]:
        return [builder.emit(builder.normalize(case.compute(*params)))]

    return relax_main(inputs, weights, body)


def fused_kernel(case: Case) -> tirx.PrimFunc:
    """The one kernel of a case, before it is scheduled."""
    passes = tvm.transform.Sequential(
        [
            relax.transform.LegalizeOps(),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.DeadCodeElimination(),
        ]
    )
    (kernel,) = kernels(passes(module_of(case))).values()
    return kernel


def lower_for(name: str, module: tvm.IRModule, *, cuda_graphs: bool = False) -> tvm.IRModule:
    """A module of public functions lowered for a profile, kernels scheduled."""
    profile = load_target(name)
    target = tvm_target(profile)
    with target, pass_context(None, cuda_graphs=cuda_graphs):
        return lower(module, target, profile)[0]


def kernels(module: tvm.IRModule) -> dict[str, tirx.PrimFunc]:
    """The kernels of a lowered module by name."""
    return {
        var.name_hint: function
        for var, function in module.functions.items()
        if isinstance(function, tirx.PrimFunc)
    }


def run_on_cpu(name: str, module: tvm.IRModule, arrays: Sequence[Array]) -> list[Array]:
    """What `main` makes of inputs and weights when lowered for a GPU."""
    with tempfile.TemporaryDirectory() as folder:
        machine = machine_on_cpu(name, lower_for(name, module), Path(folder))
        results = machine["main"](*(tvm.runtime.tensor(array) for array in arrays))
        return [result.numpy() for result in results]


def machine_on_cpu(name: str, lowered: tvm.IRModule, folder: Path) -> relax.VirtualMachine:
    """A virtual machine for what was lowered for a GPU, whose kernels are emulated."""
    target, host = tvm_target(load_target(name)), tvm_target(load_target("host"))
    calling, found = separate_kernels(lowered, target)
    for kernel, run in emulate(found, target, folder).items():
        tvm_ffi.register_global_func(kernel, run, override=True)
    path = folder / "main.so"
    tvm.compile(calling, host, relax_pipeline=None).export_library(str(path))
    return relax.VirtualMachine(tvm_ffi.load_module(path), tvm.cpu())


def machine_code(case: Case, arch: str) -> bytes:
    """The cubin of a case's kernels."""
    name = f"cuda-{arch.replace('_', '')}"
    found = kernels(lower_for(name, module_of(case)))
    target = tvm_target(load_target(name))
    built = tvm.tirx.build(tvm.IRModule(found), target, pipeline=BLOCKS_TO_GPU_CODE)
    return compile_cubin(find_cuda_compiler(), cuda_source(built), arch)
