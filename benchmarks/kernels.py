"""Whole networks: ours against onnxruntime and OpenVINO, on the same threads.

    python benchmarks/kernels.py [--threads 2] [--network squeezenet] [--json FILE]

The architectures of the `onnx` package with seeded random weights, and the trained networks of
the tests. Each network runs in a process of its own, where the engines take turns; times are
medians. `build s` is from the ONNX file to a loaded library with no kernel at hand, `again s` with
all of them kept; errors are relative to the largest value of onnxruntime's output. OpenVINO takes
part where it is installed (`pip install openvino`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compare_engines import arguments
from known_networks import network_names
from own_process import ScriptError, answer_of

from jointdnn_tvm.cli.console import note, progress

_PEERS = ("onnxruntime", "openvino")
_HEADINGS = (
    *("ours ms", "onnxruntime", "openvino", "ratio", "to faster", "error"),
    *("build s", "again s", "runs"),
)


def measure(names: Sequence[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of the networks that could be run."""
    passed = {"threads": options.threads, "repeat": options.repeat, "target": options.target}
    passed |= {"most-seconds": options.most_seconds}
    passed |= {"models": options.models} if options.models else {}
    flags = [text for key, value in passed.items() for text in (f"--{key}", str(value))]
    rows = []
    with progress() as report:
        for done, name in enumerate(names):
            report("networks", done, len(names))
            try:
                row = answer_of("compare_engines.py", [name, *flags], options.threads)
            except ScriptError as error:
                note(f"{name}: {error}")
                continue
            rows.append(row)
            note(line_of(row))
        report("networks", len(names), len(names))
    return rows


def ratios(row: dict[str, Any]) -> tuple[float, float]:
    """Our time over that of onnxruntime, and over that of the faster peer."""
    times = row["median_s"]
    faster = min(times[peer] for peer in _PEERS if peer in times)
    return times["ours"] / times["onnxruntime"], times["ours"] / faster


def line_of(row: dict[str, Any]) -> str:
    """A row of the table."""
    times = [row["median_s"].get(name) for name in ("ours", *_PEERS)]
    cells = ["not installed" if t is None else f"{1e3 * t:.2f}" for t in times]
    cells += [f"{ratio:.2f}" for ratio in ratios(row)]
    cells += [f"{row['error']['ours']:.1e}", f"{row['ready_s']['ours']:.1f}"]
    cells += [f"{row['again_s']:.1f}", str(row["runs"])]
    return _aligned(row["network"], cells)


def _aligned(name: str, cells: Sequence[str]) -> str:
    return f"{name:13}" + "".join(f"{cell:>14}" for cell in cells)


def geometric_mean(values: Sequence[float]) -> float:
    """Of ratios."""
    return math.exp(sum(map(math.log, values)) / len(values))


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """All networks, then the geometric means of the ratios."""
    print(_aligned("network", _HEADINGS))
    for row in rows:
        print(line_of(row))
    if rows:
        means = [f"{geometric_mean(column):.2f}" for column in zip(*map(ratios, rows), strict=True)]
        print(_aligned("geomean", ["", "", "", *means]))


def main() -> int:
    """Runs the networks asked for and prints the table; 1 when one could not be run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[arguments()])
    parser.add_argument(
        "--network", action="append", choices=network_names(), metavar="NAME", help="default: all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="every network's numbers")
    options = parser.parse_args()
    names = options.network or network_names()
    rows = measure(names, options)
    print_table(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if len(rows) == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
