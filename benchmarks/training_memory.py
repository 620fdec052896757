"""The memory of a phone that trains, against what the planner tells of a placement.

    python benchmarks/training_memory.py [--network squeezenet] [--placement u] [--json FILE]

Told are weights, state, inputs, masks, what stages allocate, what comes from the cloud, and
messages (`training/step_memory.py`). Measured is the phone's process, the cloud being another one:
the most that was resident (VmHWM) from opening the run to the end of its third step and a
checkpoint, over what was resident once it had imported everything and taken steps of a tiny run by
the same cloud. Pages of the library and the manifest are in that too, and in nothing that is told.

Placements: all on the mobile; `u`, the first and the last sixth of the groups in the order in which
they run, where the first layers go forward and back; `random-N`, which changes sides at up to eight
places. Momentum, all weights; batch normalisation by its running statistics.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from own_process import ScriptError, answer_of

from jointdnn_tvm.cli.console import note

_TINY = "small_mlp"
_STEPS, _RATE = 3, 1e-6
_CHANGES = 8
NETWORKS = ("small_cnn", "squeezenet", "bvlc_alexnet", "ppocr_cls", "transformer")
PLACEMENTS = ("mobile", "u", "random-1", "random-2", "random-3")


def main() -> int:
    """Prints a row for each network and placement; 1 when one is told more than 10 % wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", choices=NETWORKS, help="default: all")
    parser.add_argument("--placement", action="append", metavar="NAME", help="default: several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every row's numbers")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cloud", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps({"taken_bytes": _taken_bytes(options.here, options.cloud)}))
        return 0
    rows = _rows(options.network or NETWORKS, options.placement or PLACEMENTS)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(abs(row["error"]) > 0.1 for row in rows))


def _rows(networks: Sequence[str], placements: Sequence[str]) -> list[dict[str, Any]]:
    from bed_links import Loopback
    from bed_sides import Cloud

    rows = []
    print(f"{'network':14}{'placement':>12}{'told MB':>11}{'taken MB':>11}{'error':>9}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jointdnn-memory-")))
        cloud = stack.enter_context(Cloud(Loopback(), folder / "cache"))
        _build(_TINY, "u", folder)
        for name in networks:
            for placement in placements:
                told = _build(name, placement, folder)
                words = ["--here", str(folder), "--cloud", str(cloud.address)]
                try:
                    taken = answer_of("training_memory.py", words, threads=1)["taken_bytes"]
                except ScriptError as error:
                    note(f"{name}, {placement}: {error}")
                    continue
                row = {"network": name, "placement": placement, "told_bytes": told}
                rows.append(row | {"taken_bytes": taken, "error": told / taken - 1})
                print(
                    f"{name:14}{placement:>12}{told / 1e6:11.1f}{taken / 1e6:11.1f}"
                    f"{told / taken - 1:9.1%}",
                    flush=True,
                )
    return rows


def _build(name: str, placement: str, folder: Path) -> int:
    """Write the bundle and a batch for it; returns what is told of it, in bytes."""
    from training_steps import step_of, write_batch

    import jointdnn_tvm as jd
    from jointdnn_tvm.training.step_memory import mobile_memory_bytes

    step = step_of(name, folder)
    sides = _placement(placement, [group.name for group in step.graph.groups])
    host = jd.target("host")
    where = folder / (_TINY if name == _TINY else "bundle")
    bundle = jd.build_training(step, sides, mobile=host, cloud=host, fallback=False)
    bundle.save(where.with_suffix(".jd"))
    write_batch(step, where.with_suffix(".npz"))
    return mobile_memory_bytes(step, sides, host)


def _placement(how: str, groups: Sequence[str]) -> dict[str, Any]:
    if how == "mobile":
        return dict.fromkeys(groups, "mobile")
    if how == "u":
        edge = max(1, len(groups) // 6)
        ends = {*groups[:edge], *groups[-edge:]}
        return {name: "mobile" if name in ends else "cloud" for name in groups}
    draw = random.Random(how)
    places = draw.sample(range(1, len(groups)), draw.randint(1, min(_CHANGES, len(groups) - 1)))
    side, sides = draw.randrange(2), {}
    for index, name in enumerate(groups):
        side ^= index in places
        sides[name] = ("mobile", "cloud")[side]
    return sides


def _taken_bytes(folder: Path, cloud: str) -> int:
    """What this process takes while it trains, over what it does that has trained a little."""
    _train(folder / _TINY, cloud)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the kernel then counts the most anew
    _train(folder / "bundle", cloud)
    return _resident("VmHWM") - before


def _train(name: Path, cloud: str) -> None:
    import jointdnn_tvm as jd

    with (
        tempfile.TemporaryDirectory() as kept,
        jd.open_training(
            name.with_suffix(".jd"), cloud=cloud, checkpoints=kept, timeout_s=120
        ) as trainer,
    ):
        batch = dict(np.load(name.with_suffix(".npz")))
        label = batch.pop("label")
        for _ in range(_STEPS):
            trainer.step(batch, label, learning_rate=_RATE)
        trainer.checkpoint()


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return int(value) << 10


if __name__ == "__main__":
    sys.exit(main())
