"""The memory that one engine takes for one network, in this process; `memory.py` starts it.

python benchmarks/use_memory.py onnxruntime squeezenet FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from known_networks import network_file, network_inputs

from jointdnn_tvm.targets import load_target

Run = Callable[[], object]

_RUNS = 3
_LIBRARY, _INPUTS, _WEIGHT = "library.so", "inputs.npz", "weight{:04}.npy"


def build(name: str, models: Path, folder: Path, target: str) -> None:
    """Writes the library, its weights as packed, and the inputs: compiling takes memory too."""
    from jointdnn_tvm.compiling import compile_library
    from jointdnn_tvm.network import load_network

    network = load_network(network_file(name, models))
    weights = compile_library(network.grouped, load_target(target), folder / _LIBRARY)["main"]
    for index, weight in enumerate(weights):
        np.save(folder / _WEIGHT.format(index), weight.of(network.weights))
    np.savez(folder / _INPUTS, **network_inputs(name, network.inputs))


def _ours(folder: Path) -> Callable[[], Run]:
    import tvm.runtime
    from tvm.runtime.vm import VirtualMachine

    def ready() -> Run:
        machine = VirtualMachine(tvm.runtime.load_module(str(folder / _LIBRARY)), tvm.cpu())
        with np.load(folder / _INPUTS) as inputs:
            arguments = [tvm.runtime.tensor(array) for array in inputs.values()]
        files = sorted(folder.glob(_WEIGHT.replace("{:04}", "*")))
        arguments += [tvm.runtime.tensor(np.load(file)) for file in files]
        return lambda: machine["main"](*arguments)

    return ready


def _onnxruntime(name: str, models: Path, folder: Path, threads: int) -> Callable[[], Run]:
    import onnxruntime

    path = network_file(name, models)

    def ready() -> Run:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        with np.load(folder / _INPUTS) as inputs:
            values = dict(inputs.items())
        return lambda: session.run(None, values)

    return ready


def take(ready: Callable[[], Run]) -> dict[str, int]:
    """Bytes over those of the process before: the most while loading, and while running."""
    before = _resident("VmRSS")
    _forget_the_most()
    run = ready()
    run()
    loading = _resident("VmHWM") - before
    _forget_the_most()
    for _ in range(_RUNS):
        run()
    return {"loading_bytes": loading, "running_bytes": _resident("VmHWM") - before}


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return int(value) << 10


def _forget_the_most() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the kernel then counts the most anew


def main() -> int:
    """Builds, or takes the memory of one engine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("build", "ours", "onnxruntime"))
    parser.add_argument("network")
    parser.add_argument("folder", type=Path, help="what `build` writes, and the others read")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--target", default="host")
    options = parser.parse_args()
    name, models, folder = options.network, options.models, options.folder
    if options.what == "build":
        build(name, models, folder, options.target)
        print("{}")
        return 0
    engine = (
        _ours(folder)
        if options.what == "ours"
        else _onnxruntime(name, models, folder, options.threads)
    )
    print(json.dumps(take(engine)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
