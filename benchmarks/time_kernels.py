"""Times every kernel of one network, in this process; prints JSON. `kernel_classes.py` starts it.

python benchmarks/time_kernels.py squeezenet --threads 1
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from kernel_work import Work, WorkRecorder
from known_networks import network_file, network_inputs
from machine_limits import fma_loop, triad
from tvm import relax

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.passes.loops_to_code import LOOPS_TO_CODE
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.targets import TargetProfile, load_target


def build(
    name: str, network: Network, profile: TargetProfile
) -> tuple[Any, list[Any], dict[str, Work]]:
    """An executable, its arguments, and what its kernels do.

    Each kernel stays one call: none writes into a concatenation.
    """
    target, recorder = tvm_target(profile), WorkRecorder()
    context = tvm.transform.PassContext(
        opt_level=3, instruments=[recorder.instrument], disabled_pass=["WriteIntoConcat"]
    )
    with target, context:
        lowered, weights = lower(network.grouped, target, profile)
        executable = tvm.compile(lowered, target, relax_pipeline=None, tir_pipeline=LOOPS_TO_CODE)
    packed = [weight.of(network.weights) for weight in weights["main"]]
    arrays = [*network_inputs(name, network.inputs).values(), *packed]
    return executable, [tvm.runtime.tensor(array) for array in arrays], recorder.works


class Stopwatch:
    """Called by the virtual machine before and after each function that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self.shapes: dict[str, list[list[int]]] = {}
        self.moved: dict[str, int] = {}
        self._start = 0.0

    def __call__(self, _function: Any, name: str, before: bool, _result: Any, *values: Any) -> int:
        """Continues with the call: 0."""
        if before:
            self._start = time.perf_counter()
            return 0
        self.seconds[name] += time.perf_counter() - self._start
        self.calls[name] += 1
        if name not in self.moved:
            tensors = [value for value in values if isinstance(value, tvm.runtime.Tensor)]
            self.shapes[name] = [[int(extent) for extent in t.shape] for t in tensors]
            self.moved[name] = sum(_bytes(tensor) for tensor in tensors)
        return 0


def _bytes(tensor: Any) -> int:
    return math.prod(map(int, tensor.shape)) * np.dtype(str(tensor.dtype)).itemsize


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Medians of each kernel's time, and of what bounds it, over the same rounds."""
    models = options.models or folder
    models.mkdir(parents=True, exist_ok=True)
    profile = load_target(options.target)
    network = load_network(network_file(options.network, models))
    executable, arguments, works = build(options.network, network, profile)
    peak, stream = fma_loop(profile, options.threads), triad(profile, options.threads)
    plain, watched = (relax.VirtualMachine(executable, tvm.cpu()) for _ in range(2))
    rounds, peaks, streams, whole = [], [], [], []
    for _ in range(options.repeat):
        peaks.append(peak())
        streams.append(stream())
        plain["main"](*arguments)  # what the triad put out of the caches comes back
        start = time.perf_counter()
        plain["main"](*arguments)
        whole.append(time.perf_counter() - start)
        stopwatch = Stopwatch()
        watched.set_instrument(stopwatch)
        watched["main"](*arguments)
        rounds.append(stopwatch)
    last = rounds[-1]
    kernels = [
        {
            "name": name,
            "kind": works[name].kind if name in works else "virtual machine",
            "calls": last.calls[name],
            "seconds": statistics.median(r.seconds[name] for r in rounds),
            "flops": works[name].flops * last.calls[name] if name in works else 0,
            "bytes": last.moved[name] * last.calls[name] if name in works else 0,
            "shapes": last.shapes[name],
        }
        for name in last.seconds
    ]
    return {
        "network": options.network,
        "threads": options.threads,
        "rounds": options.repeat,
        "peak_flops": statistics.median(peaks),
        "bandwidth_bytes_per_s": statistics.median(streams),
        "whole_s": statistics.median(whole),
        "kernels": kernels,
    }


def arguments() -> argparse.ArgumentParser:
    """The options that `kernel_classes.py` passes on."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--repeat", type=int, default=11, metavar="ROUNDS", help="default 11")
    parser.add_argument("--target", default="host", help="profile to compile for; default host")
    parser.add_argument("--models", type=Path, metavar="DIR", help="keep the ONNX files here")
    return parser


def main() -> int:
    """Times the kernels of one network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[arguments()])
    parser.add_argument("network")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(options, Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
