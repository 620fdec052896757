"""Whole networks compiled for a GPU, to be run there by `gpu.py`. No GPU is needed.

    python benchmarks/gpu_build.py FOLDER [--target cuda-sm90] [--network squeezenet]

Of each network, FOLDER then holds the library with its machine code, the inputs, and the answers
that are right. Those of a trained network are onnxruntime's, and its weights lie beside them. The
architectures of the `onnx` package get weights that `gpu_network.py` draws from a seed, so that
FOLDER stays small, and the answers of our kernels for this machine's CPU. A CPU target tries the
scripts out.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import tvm
import tvm_ffi
from engines import onnxruntime_engine
from gpu_network import drawn_weights
from known_networks import (
    Array,
    light_network_names,
    network_file,
    network_inputs,
    network_names,
)
from tvm import relax

from jointdnn_tvm.cli.console import note
from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.targets import TargetProfile, load_target

_HOST_OF_A_GPU = {"kind": "llvm", "mcpu": "x86-64-v3"}  # whatever machine holds it


def build(name: str, profile: TargetProfile, folder: Path) -> None:
    """Write what `gpu.py` needs of one network."""
    with tempfile.TemporaryDirectory(prefix="jointdnn-gpu-") as scratch:
        file = network_file(name, Path(scratch))
        network = load_network(file)
        inputs = network_inputs(name, network.inputs)
        if name in light_network_names():
            shapes = {key: array.shape for key, array in network.weights.items()}
            network = replace(network, weights=drawn_weights(shapes))
            expected = _on_this_cpu(network, inputs, Path(scratch) / "host.so")
        else:
            reference = onnxruntime_engine(file, inputs, threads=1)
            reference.run()
            expected = reference.outputs()
            shutil.copy(file, folder)  # for PyTorch
        taken = compile_library(network.grouped, profile, folder / f"{name}.so")["main"]
    arrays = {f"input{i}": array for i, array in enumerate(inputs.values())}
    arrays |= {f"output{i}": array for i, array in enumerate(expected)}
    seeded = name in light_network_names() and all(weight.packing is None for weight in taken)
    if not seeded:
        arrays |= {f"weight{i}": weight.of(network.weights) for i, weight in enumerate(taken)}
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    about = {
        "target": profile.name,
        "kind": profile.kind,
        "peak_flops": profile.peak_flops,
        "multiply_adds": multiply_adds(network),
        "weights": [weight.source for weight in taken] if seeded else [],
        "drawn": {key: array.shape for key, array in network.weights.items()} if seeded else {},
    }
    (folder / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n")


def _on_this_cpu(network: Network, inputs: Mapping[str, Array], path: Path) -> list[Array]:
    weights = compile_library(network.grouped, load_target("host"), path)["main"]
    machine = relax.VirtualMachine(tvm_ffi.load_module(path), tvm.cpu())
    arrays = [*inputs.values(), *(weight.of(network.weights) for weight in weights)]
    results = machine["main"](*(tvm.runtime.tensor(array) for array in arrays))
    fields = [results] if isinstance(results, tvm.runtime.Tensor) else list(results)
    return [field.numpy() for field in fields]


def multiply_adds(network: Network) -> int:
    """Of the convolutions and matrix products, by the direct algorithm."""
    total = 0

    def count(call: relax.Call) -> None:
        nonlocal total
        name = getattr(call.op, "name", "")
        if name == "relax.matmul":
            total += math.prod(_shape(call)) * _shape(call.args[0])[-1]
        elif name == "relax.nn.conv2d":  # weights are HWIO
            total += math.prod(_shape(call)) * math.prod(_shape(call.args[1])[:3])

    for function in network.grouped.functions.values():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(
                function, lambda e: count(e) if isinstance(e, relax.Call) else None
            )
    return total


def _shape(expr: relax.Expr) -> list[int]:
    return [int(extent) for extent in expr.ty.shape]


def main() -> int:
    """Builds the networks asked for; 1 when one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="cuda-sm90")
    parser.add_argument("--network", action="append", choices=network_names(), metavar="NAME")
    options = parser.parse_args()
    profile = load_target(options.target)
    if profile.kind == "cuda":
        tvm_target = {**profile.tvm_target, "host": _HOST_OF_A_GPU}
        profile = replace(profile, tvm_target=tvm_target)
    options.folder.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in options.network or network_names():
        try:
            build(name, profile, options.folder)
        except Exception as error:  # of many kinds; the others are built all the same
            note(f"{name}: {type(error).__name__}: {str(error).splitlines()[-1][:200]}")
            failed = True
        else:
            note(f"{name} is built")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
