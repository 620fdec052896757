"""A training step on this machine: ours against PyTorch's, one thread each.

    python benchmarks/training.py [--network squeezenet] [--batch 8] [--json FILE]

Wants PyTorch (a CPU build does), which nothing else here needs. All weights are trained by
momentum, batch normalisation by its running statistics. Each network runs in a process of its own,
where both take turns, an untimed step before each timed one; times are medians. PyTorch runs
eagerly, operator by operator, in its usual layout; `error` is how far our losses are from its.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from known_networks import Array, network_file
from onnx import numpy_helper
from own_process import ScriptError, answer_of

from jointdnn_tvm.cli.console import note

_RATES = {"small_cnn": 1e-2, "squeezenet": 1e-3, "resnet50": 1e-10, "bvlc_alexnet": 1e-5}
"""Each network, and a rate at which it learns a little: with random weights, losses are steep."""
NETWORKS = tuple(_RATES)
_MOMENTUM = 0.9
_CHECKED_STEPS = 3

Step = Callable[[Array, Array], float]


def main() -> int:
    """Prints a row for each network, and the geometric mean; 1 when one could not be run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", choices=NETWORKS, help="default: all")
    parser.add_argument("--batch", type=int, default=8, help="default: 8")
    parser.add_argument("--rounds", type=int, default=15, help="at least so many; default: 15")
    parser.add_argument("--most-seconds", type=float, default=90, help="a network; default: 90")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every network's numbers")
    parser.add_argument("--here", choices=NETWORKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(_compare(options.here, options)))
        return 0
    rows = _rows(options)
    if rows:
        print(f"{'geometric mean':14}{_mean([row['ratio'] for row in rows]):40.2f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if len(rows) == len(options.network or NETWORKS) else 1


def _rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    print(f"{'network':14}{'batch':>8}{'ours ms':>11}{'pytorch ms':>11}{'ratio':>10}", end="")
    print(f"{'error':>10}{'build s':>10}{'rounds':>8}", flush=True)
    passed = ["--batch", options.batch, "--rounds", options.rounds]
    passed += ["--most-seconds", options.most_seconds]
    for name in options.network or NETWORKS:
        try:
            row = answer_of("training.py", ["--here", name, *map(str, passed)], threads=1)
        except ScriptError as error:
            note(f"{name}: {error}")
            continue
        rows.append(row)
        times = "".join(f"{1e3 * row['median_s'][who]:11.2f}" for who in ("ours", "pytorch"))
        print(f"{name:14}{row['batch']:8}{times}{row['ratio']:10.2f}", end="")
        print(f"{row['error']:10.1e}{row['build_s']:10.1f}{row['rounds']:8}", flush=True)
    return rows


def _mean(ratios: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, ratios)))


def _compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One network, in this process."""
    rate = _RATES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = _network(name, Path(folder), options.batch)
        begin = time.perf_counter()
        ours, shape, label = _our_step(path, rate)
        build_s = time.perf_counter() - begin
        steps = {"ours": ours, "pytorch": _torch_step(path, rate)}
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal(shape).astype(np.float32), rng.integers(0, 5, label)
        losses = {who: [step(x, y) for _ in range(_CHECKED_STEPS)] for who, step in steps.items()}
    errors = [abs(a - b) / abs(b) for a, b in zip(losses["ours"], losses["pytorch"], strict=True)]
    taken: dict[str, list[float]] = {who: [] for who in steps}
    begin = time.monotonic()
    while len(taken["ours"]) < options.rounds and time.monotonic() - begin < options.most_seconds:
        for who, step in steps.items():
            step(x, y)
            started = time.perf_counter()
            step(x, y)
            taken[who].append(time.perf_counter() - started)
    medians = {who: statistics.median(seconds) for who, seconds in taken.items()}
    return {
        "network": name,
        "batch": options.batch,
        "median_s": medians,
        "ratio": medians["ours"] / medians["pytorch"],
        "error": max(errors),
        "build_s": build_s,
        "rounds": len(taken["ours"]),
    }


def _network(name: str, folder: Path, batch: int) -> Path:
    """The file of a network, for batches of this size."""
    if name == "small_cnn":
        path: Path = _tasks().small_cnn(folder)
    else:
        path = network_file(name, folder)
    model = onnx.load(path)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in weights:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    for node in model.graph.node:
        if node.op_type == "Reshape":
            shape = weights[node.input[1]]
            rest = numpy_helper.to_array(shape)[1:]
            shape.CopyFrom(numpy_helper.from_array(np.array([batch, *rest]), shape.name))
    for output in model.graph.output:
        output.ClearField("type")
    onnx.save(model, folder / f"{name}-{batch}.onnx")
    return folder / f"{name}-{batch}.onnx"


def _tasks() -> Any:
    root = str(Path(__file__).parents[1])
    if root not in sys.path:
        sys.path.insert(0, root)
    from tests import training_models

    return training_models


def _our_step(path: Path, rate: float) -> tuple[Step, tuple[int, ...], tuple[int, ...]]:
    """The step, and the shapes of its input and its labels."""
    from jointdnn_tvm.training.host_trainer import HostTrainer
    from jointdnn_tvm.training.losses import CrossEntropy
    from jointdnn_tvm.training.optimizers import Sgd
    from jointdnn_tvm.training.step import training_step
    from jointdnn_tvm.training.trainable import load_trainable

    step = training_step(load_trainable(path), CrossEntropy(), Sgd(momentum=_MOMENTUM))
    trainer = HostTrainer(step)
    (given,) = step.inputs
    assert step.label is not None

    def take(x: Array, y: Array) -> float:
        return trainer.step({given.name: x}, y, learning_rate=rate)

    return take, given.shape, step.label.shape


def _torch_step(path: Path, rate: float) -> Step:
    import torch
    from torch_network import scores_of, take_constants, trainable

    torch.set_num_threads(1)
    model = onnx.load(path)
    values = take_constants(model)
    weights = [v.requires_grad_() for v in trainable(model, values).values()]
    mover = torch.optim.SGD(weights, rate, momentum=_MOMENTUM)
    (name,) = (v.name for v in model.graph.input if v.name not in values)

    def take(x: Array, y: Array) -> float:
        given = {**values, name: torch.from_numpy(x)}
        loss = torch.nn.functional.cross_entropy(
            scores_of(model, given, values), torch.from_numpy(y)
        )
        mover.zero_grad()
        loss.backward()
        mover.step()
        return float(loss.detach())

    return take


if __name__ == "__main__":
    sys.exit(main())
