"""Planned joint training on the test bed, beside training on the phone alone and the cloud alone.

    python benchmarks/training_bed.py [--network squeezenet] [--link huang2012-wifi] [--json FILE]

The phone's processor and the link are EMULATED (see `testbed.py`). Groups of a step are measured on
device servers, the phone's slowed as on the bed, and the path is probed, as `prediction.py` does.
`private` is the plan that keeps inputs and labels on the phone. Programs take turns: a few steps of
each in every round, in a run that is opened anew, whose first step does not count. Bytes are those
of all messages of a step, both ways.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from foreign_load import ForeignLoad
from prediction import Lab, Site, measure_costs, site_on
from testbed import KEY, ONE_THREAD, SLOWDOWN, find_bed, on_signals
from training_steps import step_of, write_batch

import jointdnn_tvm as jd
from jointdnn_tvm.errors import JointdnnError
from jointdnn_tvm.placement import evaluate
from jointdnn_tvm.planning import Plan
from jointdnn_tvm.targets import load_link

NETWORKS = ("small_cnn", "squeezenet", "ppocr_cls")
LINK = "huang2012-wifi"
_PLANS: dict[str, dict[str, Any]] = {
    "mobile-only": {"placement": "mobile-only"},
    "cloud-only": {"placement": "cloud-only"},
    "joint": {},
    "private": {"private": ("inputs", "labels")},
}
_RATE = 1e-6

Row = dict[str, Any]


def rows_of(lab: Lab, name: str, link: str, rounds: int, steps: int) -> list[Row]:
    """A row for each plan of one network."""
    step = step_of(name, lab.folder)
    batch = lab.folder / f"{name}.npz"
    write_batch(step, batch)
    costs = measure_costs(lab, step)
    with site_on(lab, load_link(link)) as site:
        path = site.probe()
        costs = path.applied_to(costs)
        plans = {
            plan: jd.plan_training(step, costs, link=path.link, **how)
            for plan, how in _PLANS.items()
        }
        programs = {plan: json.dumps(found.answer.placement) for plan, found in plans.items()}
        bundles: dict[str, Path] = {}
        for plan, program in programs.items():
            if program not in bundles:
                target = {"mobile": costs.mobile, "cloud": costs.cloud}
                sides = plans[plan].answer.placement
                bundle = jd.build_training(step, sides, **target, fallback=False)
                bundles[program] = bundle.save(lab.folder / f"{name}-{plan}.jd")
        load = ForeignLoad()
        taken = _in_turns(site, bundles, batch, rounds, steps)
        about = {"network": name, "link": link, "slowdown": lab.slowdown, "bed": lab.bed.how}
        about |= {"probed": [path.link.uplink_bps, path.link.downlink_bps, path.link.rtt_s]}
        about |= {"foreign_cores": load.cores(), "load_average": os.getloadavg()[0]}
    return [{**about, "plan": plan, **_row(plans[plan], taken[programs[plan]])} for plan in plans]


def _in_turns(
    site: Site, bundles: Mapping[str, Path], batch: Path, rounds: int, steps: int
) -> dict[str, list[tuple[float, int]]]:
    """Seconds and bytes of each step of each program."""
    taken: dict[str, list[tuple[float, int]]] = {program: [] for program in bundles}
    for _ in range(rounds):
        for program, bundle in bundles.items():
            site.cloud.give(*bundle.glob("cloud*"))
            where = {"bundle": str(bundle), "cloud": str(site.address), "key": KEY}
            site.phone.do("open_training", **where, batch=str(batch))
            with site.phone.slowed(site.lab.slowdown):
                taken[program] += site.phone.do("train", steps=steps, learning_rate=_RATE)
            site.phone.do("close")
    return taken


def _row(plan: Plan, taken: Sequence[tuple[float, int]]) -> Row:
    measured_s = statistics.median(seconds for seconds, _ in taken)
    metrics = evaluate(plan.problem, plan.answer.placement)
    sizes = {tensor.name: tensor.size_bytes for tensor in plan.problem.tensors}
    sides = list(plan.answer.placement.values())
    return {
        "predicted_s": plan.answer.latency_s,
        "measured_s": measured_s,
        "error": plan.answer.latency_s / measured_s - 1,
        "steps": len(taken),
        "seconds": [seconds for seconds, _ in taken],
        "predicted_bytes": sum(sizes[name] for name in (*metrics.up, *metrics.down)),
        "measured_bytes": statistics.median(count for _, count in taken),
        "groups_on_mobile": sides.count("mobile"),
        "groups_on_cloud": sides.count("cloud"),
        "switches": plan.answer.switches,
    }


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [
        f"{'network':12}{'plan':13}{'predicted':>12}{'measured':>12}{'error':>8}{'kB told':>11}"
        f"{'kB sent':>11}{'mobile':>8}{'cloud':>7}{'switches':>10}{'steps':>7}{'others':>8}"
    ]
    lines += [
        f"{row['network']:12}{row['plan']:13}{row['predicted_s'] * 1e3:9.1f} ms"
        f"{row['measured_s'] * 1e3:9.1f} ms{row['error']:8.1%}{row['predicted_bytes'] / 1e3:11.1f}"
        f"{row['measured_bytes'] / 1e3:11.1f}{row['groups_on_mobile']:8}{row['groups_on_cloud']:7}"
        f"{row['switches']:10}{row['steps']:7}{row['foreign_cores']:8.2f}"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", metavar="NAME", help="default: some")
    parser.add_argument("--link", default=LINK, metavar="NAME", help="default %(default)s")
    parser.add_argument("--slowdown", type=float, default=SLOWDOWN, help="default %(default)g")
    parser.add_argument("--rounds", type=int, default=3, help="of all plans; default %(default)s")
    parser.add_argument("--steps", type=int, default=3, help="a round; default %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every row's numbers")
    parser.add_argument("--user-space", action="store_true", help="shape without root")
    options = parser.parse_args()
    os.environ.update(ONE_THREAD)  # of the device servers that costs are measured on
    rows: list[Row] = []
    with on_signals(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jointdnn-bed-")))
        bed = stack.enter_context(find_bed(options.user_space))
        lab = Lab(bed, options.slowdown, folder)
        print(f"EMULATED: {lab.bed.how}; the phone is slowed {lab.slowdown:g}x", file=sys.stderr)
        for name in options.network or NETWORKS:
            rows += rows_of(lab, name, options.link, options.rounds, options.steps)
            print(table(rows[-len(_PLANS) :]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (JointdnnError, OSError) as error:
        sys.exit(f"training_bed: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
