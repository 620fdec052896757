"""One network that `gpu_build.py` compiled, on this machine's GPU: a line of JSON.

TVM's runtime is enough, and NumPy. PyTorch takes part where it and `onnx2torch` are installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm.runtime.vm import VirtualMachine

from jointdnn_tvm.runtime.backends import load_backends

Array = np.ndarray[Any, Any]


def drawn_weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, Array]:
    """Weights from a seed that keep activations finite and different: kernels scaled by what goes
    into each sum and without its mean, numbers for each channel about 1."""
    rng = np.random.default_rng(0)
    return {name: _drawn(rng, tuple(shape)) for name, shape in sorted(shapes.items())}


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    fan_in = math.prod(shape[:-1])
    if fan_in == 1:
        return rng.uniform(0.5, 1.5, shape).astype("float32")
    kernel = rng.standard_normal((fan_in, shape[-1]), np.float32)
    if fan_in > 9:
        kernel -= kernel.mean(axis=0)
    return np.asarray(kernel * np.float32((2 / fan_in) ** 0.5)).reshape(shape)


def measure(folder: Path, name: str, repeat: int) -> dict[str, Any]:
    """The row of one network."""
    about = json.loads((folder / f"{name}.json").read_text())
    with np.load(folder / f"{name}.npz") as arrays:
        held = {kind: _numbered(arrays, kind) for kind in ("input", "weight", "output")}
    drawn = drawn_weights(about["drawn"])
    weights = held["weight"] or [drawn[name] for name in about["weights"]]
    load_backends()
    device = tvm.runtime.device(about["kind"], 0)
    if not device.exist:
        raise SystemExit(
            f"no GPU for {about['target']}: it needs NVIDIA's driver and CUDA's runtime library "
            "(pip install 'jointdnn-tvm[cuda-runtime]')"
        )
    library = tvm_ffi.load_module(folder / f"{name}.so")
    arguments = [*held["input"], *weights]
    ours_s, outputs = _ours(library, arguments, device, repeat)
    return {
        "network": name,
        "target": about["target"],
        "device": str(device.device_name) if about["kind"] == "cuda" else "CPU",
        "ours_s": ours_s,
        "share_of_peak": about["multiply_adds"] * 2 / ours_s / about["peak_flops"],
        "error": max(_error(f, e) for f, e in zip(outputs, held["output"], strict=True)),
        **_pytorch(folder, name, held["input"], about["kind"], repeat),
    }


def _numbered(arrays: Mapping[str, Array], kind: str) -> list[Array]:
    return [arrays[f"{kind}{i}"] for i in range(sum(key.startswith(kind) for key in arrays))]


def _ours(
    library: Any, arguments: Sequence[Array], device: tvm.runtime.Device, repeat: int
) -> tuple[float, list[Array]]:
    """Median seconds, and the answers."""
    machine = VirtualMachine(library, device)
    machine.set_input("main", *(tvm.runtime.tensor(array, device) for array in arguments))
    machine.invoke_stateful("main")
    results = machine.get_outputs("main")
    fields = [results] if isinstance(results, tvm.runtime.Tensor) else list(results)
    outputs = [field.numpy() for field in fields]
    timer = machine.module.time_evaluator(
        "invoke_stateful", device, number=1, repeat=repeat + 1, min_repeat_ms=20
    )
    return statistics.median(list(timer("main").results)[1:]), outputs


def _pytorch(
    folder: Path, name: str, inputs: Sequence[Array], kind: str, repeat: int
) -> dict[str, Any]:
    """PyTorch's version and median seconds, or why there are none."""
    try:
        torch: Any = importlib.import_module("torch")
        convert: Any = importlib.import_module("onnx2torch").convert
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        module = convert(str(_onnx_file(folder, name))).eval()
        module = module.to(kind, memory_format=torch.channels_last)
        tensors = [torch.from_numpy(array).to(kind) for array in inputs]
        tensors = [
            t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors
        ]
        with torch.inference_mode():
            seconds = _median_of(torch, lambda: module(*tensors), repeat)
        return {"pytorch": torch.__version__, "pytorch_s": seconds}
    except Exception as error:  # of many kinds; our own row stands without it
        return {"pytorch_s": None, "pytorch_error": (str(error).splitlines() or [repr(error)])[0]}


def _onnx_file(folder: Path, name: str) -> Path:
    """A trained network's file lies in the folder; architectures are in the `onnx` package."""
    file = folder / f"{name}.onnx"
    if not file.exists():
        sys.path.insert(0, str(Path(__file__).parents[1]))
        return Path(importlib.import_module("tests.networks").light_network(name, folder))
    return file


def _median_of(torch: Any, run: Callable[[], object], repeat: int) -> float:
    timer = importlib.import_module("torch.utils.benchmark").Timer("run()", globals={"run": run})
    run()  # chooses its algorithms
    times = [timer.timeit(10).mean for _ in range(repeat)]  # waits for the device
    return statistics.median(times)


def _error(found: Array, expected: Array) -> float:
    largest = abs(expected).max(initial=0) or 1
    return float(abs(found - expected).max(initial=0) / largest)


def main() -> int:
    """Prints the row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("network")
    parser.add_argument("--repeat", type=int, default=20)
    options = parser.parse_args()
    print(json.dumps(measure(options.folder, options.network, options.repeat)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
