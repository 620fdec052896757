"""What quantising inside the compiled stages costs them.

    python benchmarks/boundary.py [--network opennsfw] [--cuts 3]

Each network is cut where one tensor crosses. Both stages are built twice, once handing the floats
over and once their indices (`u8`), and run in turns, in one thread; a line tells the fastest time
of each and the change. A stage that writes a quarter of the bytes may also get faster.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from real_activations import SHAPES, Observed, single_cuts
from tvm import runtime
from tvm.runtime.vm import VirtualMachine

from jointdnn_tvm.boundary import Quantised, quantised_tensors, send_indices
from jointdnn_tvm.compiling import compile_library, pass_context
from jointdnn_tvm.encodings import calibrated, indices_of
from jointdnn_tvm.graph import Stage, split_into_stages
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.insert_boundary_codec import InsertBoundaryCodec
from jointdnn_tvm.passes.pipeline import partitioning
from jointdnn_tvm.placement import Side
from jointdnn_tvm.targets import load_target

Array = np.ndarray[Any, Any]
Runs = dict[str, Callable[[], object]]
_CODEC = "u8"
_ROUNDS = 100


def cut_after(network: Network, tensor: str) -> dict[str, Side]:
    """All groups on the mobile up to the one before the tensor's first reader."""
    (reader,) = {t.consumers[0] for t in network.graph.tensors if t.name == tensor}
    names = [group.name for group in network.graph.groups]
    position = names.index(reader)
    return {n: "mobile" if i < position else "cloud" for i, n in enumerate(names)}


def both_ways(observed: Observed, tensor: str) -> tuple[Runs, Runs]:
    """Calls of each stage that hand the tensor over plain, and as indices."""
    graph = observed.network.graph
    placement = cut_after(observed.network, tensor)
    stages = split_into_stages(graph, placement)
    arrays = [run[tensor] for run in observed.runs]
    how = calibrated(_CODEC, graph.tensor(tensor), arrays)
    assert how is not None, "activations are finite"
    quantised = quantised_tensors(graph, {tensor: how})
    after = send_indices(stages, graph, quantised)
    values = dict(observed.runs[-1])
    values[quantised[tensor].name] = indices_of(values[tensor], how)
    plain = _calls(observed.network, placement, stages, {}, stages, values)
    return plain, _calls(observed.network, placement, stages, quantised, after, values)


def _calls(
    network: Network,
    placement: Mapping[str, Side],
    split: tuple[Stage, ...],
    quantised: Mapping[str, Quantised],
    stages: tuple[Stage, ...],
    values: Mapping[str, Array],
) -> Runs:
    with pass_context(None):
        insert = InsertBoundaryCodec(split, stages, quantised) if quantised else None
        module = partitioning(placement, insert)(network.grouped)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "stages.so"
        weights = compile_library(module, load_target("host"), library)
        machine = VirtualMachine(tvm_ffi.load_module(library), runtime.cpu())
    calls: Runs = {}
    for stage in stages:
        arguments = [runtime.tensor(np.ascontiguousarray(values[t])) for t in stage.inputs]
        arguments += [runtime.tensor(w.of(network.weights)) for w in weights[stage.name]]
        function = machine[stage.name]
        calls[stage.name] = lambda f=function, a=arguments: f(*a)
    return calls


def fastest(calls: list[Callable[[], object]]) -> list[float]:
    """The least seconds of each, in turns: what others do on the machine hits all alike."""
    times = [float("inf")] * len(calls)
    for _ in range(_ROUNDS):
        for i, call in enumerate(calls):
            began = time.perf_counter()
            call()
            times[i] = min(times[i], time.perf_counter() - began)
    return times


def main() -> None:
    """Print a line for each cut and stage."""
    os.environ["TVM_NUM_THREADS"] = "1"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--network", action="append", choices=SHAPES, metavar="NAME", help="default: all"
    )
    parser.add_argument("--cuts", type=int, default=3, help="of each network; default 3")
    parser.add_argument("--models", type=Path, default=Path("build/models"), metavar="DIR")
    options = parser.parse_args()
    options.models.mkdir(parents=True, exist_ok=True)
    print(f"one thread, {_CODEC}, TVM {tvm.__version__}")
    print(f"{'network':13}{'tensor':22}{'stage':9}{'floats ms':>11}{'indices ms':>12}{'change':>9}")
    for name in options.network or SHAPES:
        observed = Observed.on_photographs(name, options.models)
        for tensor in single_cuts(observed.network.graph, options.cuts):
            plain, indices = both_ways(observed, tensor)
            for stage in plain:
                before_s, after_s = fastest([plain[stage], indices[stage]])
                side = stage.rpartition("_")[2]
                print(
                    f"{name:13}{tensor:22}{side:9}{1e3 * before_s:11.3f}{1e3 * after_s:12.3f}"
                    f"{after_s / before_s - 1:+9.1%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
