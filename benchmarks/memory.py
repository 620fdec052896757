"""The memory that whole networks take: ours against onnxruntime, each in a process of its own.

    python benchmarks/memory.py [--threads 2] [--network squeezenet] [--json FILE]

Bytes that the process holds over those that it held with everything imported: the most until the
first answer is there (`loading`), and the most during the runs after that (`running`: weights,
activations, scratch). Ours loads a library and packed weights, as a device does.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from kernels import geometric_mean
from known_networks import network_names
from own_process import ScriptError, answer_of

from jointdnn_tvm.cli.console import note, progress

_COLUMNS = ("loading_bytes", "running_bytes")
_HEADINGS = ("ours MB", "onnxruntime", "ratio")


def measure(name: str, models: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The bytes of both engines."""
    row: dict[str, Any] = {"network": name, "threads": options.threads}
    with tempfile.TemporaryDirectory() as folder:
        flags = [name, folder, "--models", str(models), "--threads", str(options.threads)]
        flags += ["--target", options.target]
        for what in ("build", "ours", "onnxruntime"):
            row[what] = answer_of("use_memory.py", [what, *flags], options.threads)
    return row


def line_of(row: dict[str, Any]) -> str:
    """A row of the table."""
    cells = []
    for column in _COLUMNS:
        ours, theirs = row["ours"][column], row["onnxruntime"][column]
        cells += [f"{ours / 1e6:.1f}", f"{theirs / 1e6:.1f}", f"{ours / theirs:.2f}"]
    return _aligned(row["network"], cells)


def _aligned(name: str, cells: list[str]) -> str:
    return f"{name:13}" + "".join(f"{cell:>13}" for cell in cells)


def main() -> int:
    """Measures the networks asked for and prints the table; 1 when one could not be run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="of both engines; default 1")
    parser.add_argument("--target", default="host", help="profile to compile for; default host")
    parser.add_argument("--models", type=Path, metavar="DIR", help="keep the ONNX files here")
    parser.add_argument(
        "--network", action="append", choices=network_names(), metavar="NAME", help="default: all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="every network's numbers")
    options = parser.parse_args()
    names = options.network or network_names()
    rows = []
    with tempfile.TemporaryDirectory() as folder, progress() as report:
        models = options.models or Path(folder)
        models.mkdir(parents=True, exist_ok=True)
        for done, name in enumerate(names):
            report("networks", done, len(names))
            try:
                rows.append(measure(name, models, options))
            except ScriptError as error:
                note(f"{name}: {error}")
        report("networks", len(names), len(names))
    print(_aligned("", ["loading", "", "", "running", "", ""]))
    print(_aligned("network", [*_HEADINGS, *_HEADINGS]))
    for row in rows:
        print(line_of(row))
    for column in _COLUMNS if rows else ():
        mean = geometric_mean([row["ours"][column] / row["onnxruntime"][column] for row in rows])
        print(f"geometric mean, {column.removesuffix('_bytes')}: {mean:.2f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if len(rows) == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
