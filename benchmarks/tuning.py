"""Tune networks on this machine, and time them before and after, beside onnxruntime.

    python benchmarks/tuning.py                                  # squeezenet and a trained network
    python benchmarks/tuning.py --network resnet50 --minutes 5 --threads 2 --also all
    python benchmarks/tuning.py --records FILE --also all        # times what was tuned before
    python benchmarks/tuning.py --target benchmarks/znver3.toml  # code for another processor

Every network is timed with the records of all; `--also` names some that are timed and not tuned.
A target other than `host` must be one whose code this machine runs; onnxruntime takes what it has.
Engines take turns in one process. `share` is the median of what one run takes after tuning over
what the one beside it takes before. Where no kernel was tuned the code is the same: not timed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from known_networks import network_file, network_names
from own_process import ScriptError, answer_of

from jointdnn_tvm.cli.console import note
from jointdnn_tvm.deploy.loopback import LoopbackLab

_DEFAULT = ["squeezenet", "ppocr_rec"]


def tune(options: argparse.Namespace, folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The file of records, and what tuning each network said; trials are kept nowhere."""
    os.environ |= {"XDG_CACHE_HOME": str(folder), "TVM_NUM_THREADS": str(options.threads)}
    told = []
    with LoopbackLab(options.target, options.target) as lab:
        device = ["--tracker", str(lab.tracker), "--key", lab.cloud_key]
        for name in options.network:
            model = network_file(name, folder)
            words = ["tune", str(model), "--minutes", str(options.minutes), "--json"]
            words += ["--target", options.target, *device]
            ended = subprocess.run(
                [sys.executable, "-m", "jointdnn_tvm.cli", *words],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            told.append(json.loads(ended.stdout))
            note(
                f"{name}: {told[-1]['searched_kernels']} of {told[-1]['kernels']} kernels, "
                f"{told[-1]['trials']} trials, {len(told[-1]['records'])} records, "
                f"{told[-1]['share']:.3f} of its time"
            )
    return Path(told[-1]["path"]), told


def main() -> int:
    """Prints a line a network; 1 when one could not be run, or takes longer than before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = network_names()
    parser.add_argument("--network", action="append", choices=known, metavar="NAME")
    parser.add_argument("--also", action="append", choices=[*known, "all"], metavar="NAME")
    parser.add_argument("--target", default="host", metavar="TARGET", help="default: host")
    parser.add_argument("--minutes", type=float, default=10, help="for each network; default 10")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeat", type=int, default=30, metavar="RUNS")
    parser.add_argument("--most-seconds", type=float, default=180, metavar="S")
    parser.add_argument("--records", type=Path, metavar="FILE", help="these, in place of tuning")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the records there")
    options = parser.parse_args()
    options.network = options.network or ([] if options.records else _DEFAULT)
    also = known if options.also and "all" in options.also else options.also or []
    names = list(dict.fromkeys([*options.network, *also]))
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        records = options.records or tune(options, folder)[0]
        if not records.exists():
            note("tuning found nothing that is faster")
            return 1
        if options.keep:
            shutil.copy(records, options.keep)
        print(f"{'network':14}{'kernels':>8}{'before ms':>11}{'after ms':>11}", end="")
        print(f"{'onnxruntime':>13}{'share':>8}{'to onnxruntime':>22}{'error':>10}")
        shares, same = [], 0
        for name in names:
            words = [name, "--records", records, "--threads", options.threads]
            words += ["--repeat", options.repeat, "--most-seconds", options.most_seconds]
            words += ["--models", folder, "--target", options.target]
            try:
                found = answer_of("compare_tuned.py", [str(w) for w in words], options.threads)
            except ScriptError as error:
                note(f"{name}: {error}")
                continue
            if not found["tuned_kernels"]:
                print(f"{name:14}{0:8}  the same code", flush=True)
                same += 1
                continue
            shares.append(found["share"])
            before, after, other = found["median_s"].values()
            print(
                f"{name:14}{found['tuned_kernels']:8}{1e3 * before:11.2f}{1e3 * after:11.2f}"
                f"{1e3 * other:13.2f}{found['share']:8.3f}{before / other:11.2f} ->"
                f"{after / other:8.2f}{found['error']['after']:10.1e}",
                flush=True,
            )
        if shares:
            print(f"geometric mean of the shares: {statistics.geometric_mean(shares):.3f}")
    return 0 if len(shares) + same == len(names) and max(shares, default=0) <= 1.01 else 1


if __name__ == "__main__":
    sys.exit(main())
