"""Whole networks on this machine's GPU: ours against PyTorch, in 32-bit floats, channels last.

    python benchmarks/gpu_build.py FOLDER --target cuda-sm90     # anywhere
    python benchmarks/gpu.py FOLDER                              # on the GPU

Networks of FOLDER are checked against the answers there, relative to their largest number, and
timed: medians on the device, without copies to it. The share of peak is the direct algorithm's
multiply-adds in convolutions and products over the time and the 32-bit peak of the profile; tensor
cores may pass it. PyTorch, with TF32 off, takes part where it and `onnx2torch` are installed. Each
network runs in a process of its own, so that one that fails or hangs leaves the others alone. What
is printed is kept in `benchmarks/results/`, by date and device.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from own_process import ScriptError, answer_of

_RESULTS = Path(__file__).parent / "results"
_HEADINGS = ("ours ms", "PyTorch ms", "ratio", "of peak", "error")
_TOLERANCE = 1e-4  # as in `jointdnn verify`
_NETWORK_S = 120  # after which a network is given up


def line_of(row: Mapping[str, Any]) -> str:
    """A row of the table."""
    ours, peer = row["ours_s"], row["pytorch_s"]
    cells = [f"{1e3 * ours:.3f}"]
    cells += ["none", ""] if peer is None else [f"{1e3 * peer:.3f}", f"{ours / peer:.2f}"]
    cells += [f"{row['share_of_peak']:.1%}", f"{row['error']:.1e}"]
    return _aligned(row["network"], cells)


def _aligned(name: str, cells: Sequence[str]) -> str:
    return f"{name:13}" + "".join(f"{cell:>12}" for cell in cells)


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """The geometric mean of the ratios, and the worst."""
    ratios = {row["network"]: row["ours_s"] / row["pytorch_s"] for row in rows if row["pytorch_s"]}
    if not ratios:
        return "PyTorch took no part"
    mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
    worst = max(ratios, key=lambda name: ratios[name])
    return f"{mean:.2f} x PyTorch's time in the geometric mean; {worst}: {ratios[worst]:.2f}"


def keep(rows: Sequence[Mapping[str, Any]], started: datetime, folder: Path) -> Path:
    """Write the rows so far, as text and as JSON; the path of the text."""
    device = re.sub(r"[^a-z0-9]+", "-", rows[0]["device"].lower()).strip("-")
    path = folder / f"{started:%Y-%m-%d-%H%M}-gpu-{device}.txt"
    folder.mkdir(exist_ok=True)
    about = f"{started:%Y-%m-%d %H:%M} UTC, {rows[0]['device']}, target {rows[0]['target']}"
    lines = [about, _aligned("network", _HEADINGS), *map(line_of, rows), summary(rows)]
    path.write_text("\n".join(lines) + "\n")
    path.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    return path


def main() -> int:
    """Runs the networks of a folder; 1 when one fails or is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", action="append", metavar="NAME")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--results", type=Path, default=_RESULTS, metavar="FOLDER")
    options = parser.parse_args()
    started = datetime.now(timezone.utc)
    names = options.network or sorted(path.stem for path in options.folder.glob("*.json"))
    rows: list[dict[str, Any]] = []
    failed = not names
    print(_aligned("network", _HEADINGS))
    for name in names:
        arguments = [str(options.folder), name, "--repeat", str(options.repeat)]
        try:
            row = answer_of("gpu_network.py", arguments, threads=1, timeout_s=_NETWORK_S)
        except ScriptError as error:
            print(f"{name:13} {error}", file=sys.stderr)
            failed = True
            continue
        rows.append(row)
        failed |= not row["error"] < _TOLERANCE
        print(line_of(row), flush=True)
        kept = keep(rows, started, options.results)  # so far: a lease may end
    if rows:
        print(summary(rows))
        print(f"kept in {kept}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
