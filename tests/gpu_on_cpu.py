"""Kernels scheduled for a GPU, run on this machine's CPU: threads become loops, one after another.

A schedule's blocks mean the same whatever a loop is bound to, so this judges what each thread
computes, where it reads and where it writes. It cannot judge barriers, which TVM puts in later,
nor anything that only a GPU does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.targets import load_target
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


def lower_for(name: str, module: tvm.IRModule) -> tvm.IRModule:
    """A module of public functions lowered for a profile, kernels scheduled."""
    profile = load_target(name)
    target = tvm_target(profile)
    with target, tvm.transform.PassContext(opt_level=3):
        return lower(module, target, profile)[0]


def kernels(module: tvm.IRModule) -> dict[str, tirx.PrimFunc]:
    """The kernels of a lowered module by name."""
    return {
        var.name_hint: function
        for var, function in module.functions.items()
        if isinstance(function, tirx.PrimFunc)
    }


def without_threads(function: Any) -> Any:
    """The same kernel with loops in the place of threads."""

    def serial(loop: tirx.For) -> tirx.For:
        if loop.kind != tirx.ForKind.THREAD_BINDING:
            return loop
        return tirx.For(loop.loop_var, loop.min, loop.extent, tirx.ForKind.SERIAL, loop.body)

    return tvm_ffi.structural_map(function, (tirx.For, serial))


def run_on_cpu(name: str, module: tvm.IRModule, arrays: Sequence[Array]) -> list[Array]:
    """What `main` makes of inputs and weights when lowered for a GPU."""
    lowered = lower_for(name, module)
    functions = {
        var: without_threads(function) if isinstance(function, tirx.PrimFunc) else function
        for var, function in lowered.functions.items()
    }
    host = tvm_target(load_target("host"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "serial.so"
        serial = tvm.IRModule(functions, attrs=lowered.attrs)
        tvm.compile(serial, host, relax_pipeline=None).export_library(str(path))
        machine = relax.VirtualMachine(tvm_ffi.load_module(path), tvm.cpu())
        results = machine["main"](*(tvm.runtime.tensor(array) for array in arrays))
        return [result.numpy() for result in results]
