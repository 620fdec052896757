"""Times one network in all engines, in this process; prints JSON. `kernels.py` starts it.

python benchmarks/compare_engines.py squeezenet --threads 1
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from engines import Engine, onnxruntime_engine, openvino_engine, our_engine
from known_networks import Array, network_file

from jointdnn_tvm.targets import load_target

_SETTLE_S = 0.05  # threads of all three engines sleep by then
_LEAST_S = 2.0  # short networks run more often


def take_turns(
    engines: Sequence[Engine], repeat: int, most_s: float, settle_s: float
) -> dict[str, list[float]]:
    """Seconds of each run. Engines take turns, so that a slow machine is slow for all.

    An untimed run goes before each timed one: what the other engines left in the caches, and
    their spinning threads, are no part of it. After `most_s` no further round begins.
    """
    taken: dict[str, list[float]] = {engine.name: [] for engine in engines}
    begin = time.monotonic()
    for done in itertools.count():
        passed_s = time.monotonic() - begin
        if done and (passed_s > most_s or (done >= repeat and passed_s > _LEAST_S)):
            break
        for engine in engines:
            time.sleep(settle_s)
            engine.run()
            start = time.perf_counter()
            engine.run()
            taken[engine.name].append(time.perf_counter() - start)
    return taken


def largest_error(outputs: Sequence[Array], expected: Sequence[Array]) -> float:
    """Largest difference of any output, relative to its largest value."""
    errors = [
        np.abs(output - wanted).max() / max(np.abs(wanted).max(), np.finfo(np.float32).tiny)
        for output, wanted in zip(outputs, expected, strict=True)
    ]
    return float(max(errors))


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Medians, build times and errors of one network."""
    models = options.models or folder
    models.mkdir(parents=True, exist_ok=True)
    path = network_file(options.network, models)
    ours, inputs = our_engine(options.network, path, load_target(options.target), folder)
    reference = onnxruntime_engine(path, inputs, options.threads)
    engines = [ours, reference]
    if (openvino := openvino_engine(path, inputs, options.threads)) is not None:
        engines.append(openvino)
    for engine in engines:
        engine.run()
    expected = reference.outputs()
    errors = {engine.name: largest_error(engine.outputs(), expected) for engine in engines}
    settle_s = _SETTLE_S if options.threads > 1 else 0.0
    taken = take_turns(engines, options.repeat, options.most_seconds, settle_s)
    return {
        "network": options.network,
        "threads": options.threads,
        "runs": len(taken["ours"]),
        "median_s": {name: statistics.median(values) for name, values in taken.items()},
        "lowest_s": {name: min(values) for name, values in taken.items()},
        "ready_s": {engine.name: engine.ready_s for engine in engines},
        "again_s": ours.again_s,
        "error": errors,
    }


def arguments() -> argparse.ArgumentParser:
    """The options that `kernels.py` passes on."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--threads", type=int, default=1, help="of every engine; default 1")
    parser.add_argument(
        "--repeat", type=int, default=30, metavar="RUNS", help="at least so many; default 30"
    )
    parser.add_argument(
        "--most-seconds", type=float, default=180, metavar="S", help="a network; default 180"
    )
    parser.add_argument("--target", default="host", help="profile to compile for; default host")
    parser.add_argument("--models", type=Path, metavar="DIR", help="keep the ONNX files here")
    return parser


def main() -> int:
    """Compares one network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[arguments()])
    parser.add_argument("network")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(compare(options, Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
