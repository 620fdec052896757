"""Whole networks on a GPU: ours against PyTorch, in 32-bit floats, channels last.

    python benchmarks/gpu.py [--target cuda-sm90] [--network squeezenet] [--json FILE]

The architectures of the `onnx` package with seeded random weights, and the trained networks of
the tests. Answers are held against onnxruntime's on the CPU, relative to its largest value. Times
are medians on the device, without copies to it. The share of peak is the direct algorithm's
multiply-adds in convolutions and products over the time and the profile's peak. PyTorch, with TF32
off, takes part where it and `onnx2torch` are installed. A CPU target tries the script out.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from engines import onnxruntime_engine
from known_networks import Array, network_file, network_inputs, network_names
from tvm import relax

from jointdnn_tvm.cli.console import note
from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.runtime.backends import has_cuda_driver, load_backends
from jointdnn_tvm.targets import TargetProfile, load_target

_HEADINGS = ("ours ms", "PyTorch ms", "ratio", "of peak", "error")


def measure(name: str, profile: TargetProfile, repeat: int, folder: Path) -> dict[str, Any]:
    """The row of one network."""
    file = network_file(name, folder)
    network = load_network(file)
    inputs = network_inputs(name, network.inputs)
    ours_s, outputs = _ours(network, inputs, profile, repeat, folder / f"{name}.so")
    reference = onnxruntime_engine(file, inputs, threads=1)
    reference.run()
    expected = reference.outputs()
    return {
        "network": name,
        "target": profile.name,
        "ours_s": ours_s,
        "pytorch_s": _pytorch(file, inputs, profile, repeat),
        "share_of_peak": _multiply_adds(network) * 2 / ours_s / profile.peak_flops,
        "error": max(_error(f, e) for f, e in zip(outputs, expected, strict=True)),
    }


def _ours(
    network: Network, inputs: Mapping[str, Array], profile: TargetProfile, repeat: int, path: Path
) -> tuple[float, list[Array]]:
    """Median seconds, and the answers."""
    weights = compile_library(network.grouped, profile, path)["main"]
    device = tvm.runtime.device(profile.kind, 0)
    machine = relax.VirtualMachine(tvm_ffi.load_module(path), device)
    arrays = [*inputs.values(), *(weight.of(network.weights) for weight in weights)]
    machine.set_input("main", *(tvm.runtime.tensor(array, device) for array in arrays))
    machine.invoke_stateful("main")
    results = machine.get_outputs("main")
    fields = [results] if isinstance(results, tvm.runtime.Tensor) else list(results)
    outputs = [field.numpy() for field in fields]
    timer = machine.module.time_evaluator(
        "invoke_stateful", device, number=1, repeat=repeat + 1, min_repeat_ms=20
    )
    return statistics.median(list(timer("main").results)[1:]), outputs


def _pytorch(
    file: Path, inputs: Mapping[str, Array], profile: TargetProfile, repeat: int
) -> float | None:
    """Median seconds; None where PyTorch is not installed or does not take the network."""
    try:
        torch: Any = importlib.import_module("torch")
        convert: Any = importlib.import_module("onnx2torch").convert
    except ImportError:
        return None
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    kind = profile.kind
    try:
        module = convert(str(file)).eval().to(kind, memory_format=torch.channels_last)
        tensors = [torch.from_numpy(array).to(kind) for array in inputs.values()]
        tensors = [
            t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors
        ]
        with torch.inference_mode():
            return _median_of(torch, lambda: module(*tensors), repeat)
    except Exception as error:  # of many kinds, for each operator that is not known to it
        note(f"PyTorch does not take {file.stem}: {str(error).splitlines()[0][:100]}")
        return None


def _median_of(torch: Any, run: Callable[[], object], repeat: int) -> float:
    timer = importlib.import_module("torch.utils.benchmark").Timer("run()", globals={"run": run})
    run()  # chooses its algorithms
    times = [timer.timeit(10).mean for _ in range(repeat)]  # waits for the device
    return statistics.median(times)


def _multiply_adds(network: Network) -> int:
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


def _error(found: Array, expected: Array) -> float:
    largest = abs(expected).max(initial=0) or 1
    return float(abs(found - expected).max(initial=0) / largest)


def line_of(row: Mapping[str, Any]) -> str:
    """A row of the table."""
    ours, peer = row["ours_s"], row["pytorch_s"]
    cells = [f"{1e3 * ours:.3f}"]
    cells += ["none", ""] if peer is None else [f"{1e3 * peer:.3f}", f"{ours / peer:.2f}"]
    cells += [f"{row['share_of_peak']:.1%}", f"{row['error']:.1e}"]
    return _aligned(row["network"], cells)


def _aligned(name: str, cells: Sequence[str]) -> str:
    return f"{name:13}" + "".join(f"{cell:>12}" for cell in cells)


def main() -> int:
    """Runs the networks asked for; 1 when one fails, or when there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="cuda-sm90")
    parser.add_argument("--network", action="append", choices=network_names(), metavar="NAME")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--json", type=Path, metavar="FILE", help="every network's numbers")
    options = parser.parse_args()
    profile = load_target(options.target)
    if profile.kind == "cuda" and not has_cuda_driver():
        note(f"no NVIDIA driver is here, so nothing runs for {profile.name}: start this on its GPU")
        return 1
    load_backends()
    rows, failed = [], False
    print(_aligned("network", _HEADINGS))
    with tempfile.TemporaryDirectory(prefix="jointdnn-gpu-") as folder:
        for name in options.network or network_names():
            try:
                rows.append(measure(name, profile, options.repeat, Path(folder)))
            except Exception as error:  # of many kinds; the others are measured all the same
                note(f"{name}: {type(error).__name__}: {str(error).splitlines()[-1][:200]}")
                failed = True
                continue
            print(line_of(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
