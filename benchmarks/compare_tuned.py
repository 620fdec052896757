"""Times one network by rules, with tuned kernels, and in onnxruntime; `tuning.py` starts it.

python benchmarks/compare_tuned.py squeezenet --records FILE --threads 2
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from compare_engines import arguments, largest_error, take_turns
from engines import onnxruntime_engine, our_engine
from known_networks import network_file

from jointdnn_tvm.network import load_network
from jointdnn_tvm.targets import load_target
from jointdnn_tvm.tuning.groups import kernels_of_groups
from jointdnn_tvm.tuning.records import read_records, with_records

_SETTLE_S = 0.05


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Medians, shortest times and errors of one network; that no kernel of it was tuned, if so."""
    models = options.models or folder
    models.mkdir(parents=True, exist_ok=True)
    path = network_file(options.network, models)
    profile = load_target(options.target)
    tuned = with_records(profile, read_records(options.records, profile))
    kernels = {
        repr(kernel)
        for found in kernels_of_groups(load_network(path), profile).values()
        for kernel in found
    }
    changed = len(kernels & tuned.tuned.keys())
    if not changed:
        return {"network": options.network, "tuned_kernels": 0}
    folders = folder / "before", folder / "after"
    for own in folders:
        own.mkdir()
    before, inputs = our_engine(options.network, path, profile, folders[0])
    after, _ = our_engine(options.network, path, tuned, folders[1])
    engines = [
        replace(before, name="before"),
        replace(after, name="after"),
        onnxruntime_engine(path, inputs, options.threads),
    ]
    for engine in engines:
        engine.run()
    expected = engines[-1].outputs()
    settle_s = _SETTLE_S if options.threads > 1 else 0.0
    taken = take_turns(engines, options.repeat, options.most_seconds, settle_s)
    shares = [a / b for a, b in zip(taken["after"], taken["before"], strict=True)]
    return {
        "network": options.network,
        "tuned_kernels": changed,
        "threads": options.threads,
        "runs": len(shares),
        "median_s": {name: statistics.median(values) for name, values in taken.items()},
        "lowest_s": {name: min(values) for name, values in taken.items()},
        "share": statistics.median(shares),
        "error": {engine.name: largest_error(engine.outputs(), expected) for engine in engines},
    }


def main() -> int:
    """Compares one network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[arguments()])
    parser.add_argument("network")
    parser.add_argument("--records", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(compare(options, Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
