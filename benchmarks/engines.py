"""One network in each engine that can run it, as functions without arguments."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import onnxruntime
import tvm
from known_networks import Array, network_inputs
from tvm import relax

from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.network import TensorSpec, load_network
from jointdnn_tvm.targets import TargetProfile

T = TypeVar("T")


@dataclass(frozen=True)
class Engine:
    """A network that is ready to run on one set of inputs."""

    name: str
    run: Callable[[], object]
    outputs: Callable[[], list[Array]]
    """Those of the last run, in the order of the ONNX file."""
    ready_s: float
    """From the ONNX file to an engine that can run."""
    again_s: float | None = None
    """The same once more, where something was kept for that."""


def our_engine(
    name: str, path: Path, profile: TargetProfile, folder: Path
) -> tuple[Engine, dict[str, Array]]:
    """The network compiled whole, as one stage of a bundle would be, and its inputs.

    Built twice, first without any kernel at hand: these are kept in `folder`.
    """
    os.environ["XDG_CACHE_HOME"] = str(folder)
    _, ready_s = _timed(lambda: _build(path, profile, folder / "first.so"))
    built, again_s = _timed(lambda: _build(path, profile, folder / "second.so"))
    machine, packed, specs = built
    inputs = network_inputs(name, specs)
    arguments = [tvm.runtime.tensor(array) for array in [*inputs.values(), *packed]]
    main = machine["main"]
    results: list[Any] = []

    def run() -> None:
        results[:] = [main(*arguments)]

    def outputs() -> list[Array]:
        (result,) = results
        fields = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
        return [field.numpy() for field in fields]

    return Engine("ours", run, outputs, ready_s, again_s), inputs


def _build(
    path: Path, profile: TargetProfile, library: Path
) -> tuple[Any, list[Array], tuple[TensorSpec, ...]]:
    network = load_network(path)
    weights = compile_library(network.grouped, profile, library)
    packed = [weight.of(network.weights) for weight in weights["main"]]
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())
    return machine, packed, network.inputs


def _timed(action: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = action()
    return result, time.perf_counter() - start


def onnxruntime_engine(path: Path, inputs: Mapping[str, Array], threads: int) -> Engine:
    """At its best: every graph optimisation, inputs and outputs bound once."""
    start = time.perf_counter()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    ready_s = time.perf_counter() - start
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return Engine(
        "onnxruntime",
        lambda: session.run_with_iobinding(binding),
        binding.copy_outputs_to_cpu,
        ready_s,
    )


def openvino_engine(path: Path, inputs: Mapping[str, Array], threads: int) -> Engine | None:
    """Set for latency, computing in float32; None where it is not installed."""
    try:
        openvino: Any = importlib.import_module("openvino")
    except ImportError:
        return None
    start = time.perf_counter()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()
    ready_s = time.perf_counter() - start
    for name, array in inputs.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    return Engine(
        "openvino",
        request.infer,
        lambda: [request.get_tensor(port).data.copy() for port in compiled.outputs],
        ready_s,
    )
