"""What quantising inside the compiled stages costs them.

    python benchmarks/boundary.py [--network opennsfw] [--cuts 3]

Each network is cut where one tensor crosses. Both stages are built twice, once handing the floats
over and once their indices (`u8`), and run in turns, in one thread; a line tells the fastest time
of each, and the median change from one run to the next, which others on the machine hit alike. A
stage that writes a quarter of the bytes may also get faster.

`alone` is what the arithmetic takes by itself, as a share of the stage: quantising is a
multiply-add, a minimum, a maximum, a conversion and a packing of each vector, at two a cycle; a
dequantised vector takes a conversion and a multiply-add. Where that is over 3 % already the stage
is too short for the bar.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
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

from jointdnn_tvm.boundary import quantised_tensors, send_indices
from jointdnn_tvm.compiling import compile_library, pass_context
from jointdnn_tvm.encodings import calibrated, indices_of
from jointdnn_tvm.graph import Stage, split_into_stages
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.choose_kernels import Weight
from jointdnn_tvm.passes.insert_boundary_codec import InsertBoundaryCodec
from jointdnn_tvm.passes.pipeline import partitioning
from jointdnn_tvm.placement import Side
from jointdnn_tvm.targets import load_target

Array = np.ndarray[Any, Any]
Runs = dict[str, Callable[[], object]]
Weights = dict[Weight, runtime.Tensor]
_CODEC = "u8"
_ROUNDS = 200
_CYCLES = {"mobile": 2.5, "cloud": 1.0}  # of a vector, where it is quantised and where it is read
_BAR = 0.03


def cut_after(network: Network, tensor: str) -> dict[str, Side]:
    """All groups on the mobile up to the one before the tensor's first reader."""
    (reader,) = {t.consumers[0] for t in network.graph.tensors if t.name == tensor}
    names = [group.name for group in network.graph.groups]
    position = names.index(reader)
    return {n: "mobile" if i < position else "cloud" for i, n in enumerate(names)}


def both_ways(observed: Observed, tensor: str) -> tuple[Runs, Runs]:
    """Calls of each stage that hand the tensor over plain, and as indices.

    They share their weights: where these lie in memory changes a stage by more than what is sought.
    """
    kept: Weights = {}
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
    with pass_context(None):
        grouped = partitioning(placement)(observed.network.grouped)
        changed = InsertBoundaryCodec(stages, after, quantised)(grouped)
    plain = _calls(observed.network, grouped, stages, values, kept)
    return plain, _calls(observed.network, changed, after, values, kept)


def _calls(
    network: Network,
    module: tvm.IRModule,
    stages: tuple[Stage, ...],
    values: Mapping[str, Array],
    kept: Weights,
) -> Runs:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "stages.so"
        weights = compile_library(module, load_target("host"), library)
        machine = VirtualMachine(tvm_ffi.load_module(library), runtime.cpu())
    calls: Runs = {}
    for stage in stages:
        arguments = [runtime.tensor(np.ascontiguousarray(values[t])) for t in stage.inputs]
        for weight in weights[stage.name]:
            if weight not in kept:
                kept[weight] = runtime.tensor(weight.of(network.weights))
            arguments.append(kept[weight])
        function = machine[stage.name]
        calls[stage.name] = lambda f=function, a=arguments: f(*a)
    return calls


def in_turns(calls: list[Callable[[], object]]) -> list[tuple[float, ...]]:
    """The seconds of each call, again and again."""
    rounds: list[tuple[float, ...]] = []
    for _ in range(_ROUNDS):
        times = []
        for call in calls:
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
        rounds.append(tuple(times))
    return rounds


def arithmetic_s(count: int, side: str) -> float:
    """Seconds to quantise or read so many numbers that lie in registers, at best."""
    host = load_target("host")
    return _CYCLES[side] * count / host.lanes / host.clock_hz


def summary(changes: list[tuple[float, float]]) -> str:
    """How many stages keep to the bar, of those that can."""
    can = [change for change, alone in changes if alone <= _BAR]
    return (
        f"{len(can)} stages whose boundary can take {_BAR:.0%} or less: median "
        f"{statistics.median(can):+.1%}, worst {max(can):+.1%}; {len(changes) - len(can)} too short"
    )


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
    print(
        f"{'network':13}{'tensor':22}{'stage':9}{'floats ms':>11}{'indices ms':>12}{'change':>9}"
        f"{'alone':>8}"
    )
    changes: list[tuple[float, float]] = []
    for name in options.network or SHAPES:
        observed = Observed.on_photographs(name, options.models)
        for tensor in single_cuts(observed.network.graph, options.cuts):
            count = math.prod(observed.network.graph.tensor(tensor).shape)
            plain, indices = both_ways(observed, tensor)
            for stage in plain:
                rounds = in_turns([plain[stage], indices[stage]])
                before_s, after_s = map(min, zip(*rounds, strict=True))
                side = stage.rpartition("_")[2]
                change = statistics.median(after / before for before, after in rounds) - 1
                alone = arithmetic_s(count, side) / before_s
                changes.append((change, alone))
                print(
                    f"{name:13}{tensor:22}{side:9}{1e3 * before_s:11.3f}{1e3 * after_s:12.3f}"
                    f"{change:+9.1%}{alone:8.1%}",
                    flush=True,
                )
    print(summary(changes))


if __name__ == "__main__":
    main()
