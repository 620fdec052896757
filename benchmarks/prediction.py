"""Predicted against measured latency on the test bed: a table, and a scatter plot as SVG.

    python benchmarks/prediction.py [--network opennsfw]... [--link huang2012-4g]...
        [--json FILE] [--svg FILE]

For every network and link: mobile-only, cloud-only, joint and five random plans. Each network's
costs are measured on device servers on loopback, the phone's slowed as it is on the test bed, then
bundles run for real (see `testbed.py`; root, else a shaper in user space). Rows that are in the
JSON file are kept, so that a run that was broken off goes on where it was.

A random plan hands over between the sides at one to five places, drawn from the execution order;
one whose bytes alone keep the link busy for over 15 s is drawn again.

The machine is shared: costs are measured, and plans run, once others leave it alone for a second
(at most 0.15 cores, awaited for `--patience` seconds at most). What others used meanwhile stands in
the row; over 0.15 cores the row is run again, up to twice, and the quietest is kept. The prediction
has no part in that.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from foreign_load import ForeignLoad, wait_for_quiet
from known_networks import network_file, network_inputs, network_names
from scatter import scatter
from testbed import KEY, ONE_THREAD, SLOWDOWN, Bed, Cloud, Phone, find_bed, on_signals, urgent

import jointdnn_tvm as jd
from jointdnn_tvm.cli.console import progress
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.errors import JointdnnError
from jointdnn_tvm.network import Network
from jointdnn_tvm.placement import SIDES, Problem, evaluate
from jointdnn_tvm.planning import Plan
from jointdnn_tvm.probing import ProbedPath
from jointdnn_tvm.runtime.link_probe import PathTimes
from jointdnn_tvm.targets import LinkProfile, load_link

NETWORKS = ("opennsfw", "ppocr_det", "ppocr_rec", "ppocr_cls")
LINKS = ("huang2012-3g", "huang2012-4g", "huang2012-wifi", "lan-1g")
RANDOM = 5
_MOST_ON_LINK_S = 15.0
_MOST_SWITCHES = 5
_QUIET_CORES, _ATTEMPTS = 0.15, 3
_LEAST, _MOST, _RUN_S = 3, 40, 4.0
_MEDIAN_BAR, _WORST_BAR, _JOINT_BAR = 0.05, 0.15, 0.05

Row = dict[str, Any]


@dataclass(frozen=True)
class Lab:
    """What all rows share."""

    bed: Bed
    slowdown: float
    folder: Path
    patience_s: float


def probe(lab: Lab, link: LinkProfile) -> ProbedPath:
    """The path as the phone finds it: the link, and what messages take beside it."""
    with ExitStack() as stack:
        cloud = stack.enter_context(Cloud(lab.bed, lab.folder / "cache"))
        phone = stack.enter_context(Phone(lab.bed))
        address = stack.enter_context(lab.bed.shaped(link, cloud.address))
        phone.do("close")  # it is up

        def time_path() -> PathTimes:
            with phone.slowed(lab.slowdown):
                return PathTimes.from_json(phone.do("probe", cloud=str(address), key=KEY))

        times, _ = quietly(time_path, lab.patience_s)
    found = replace(
        link,
        uplink_bps=8 / times.link.up_s_per_byte,
        downlink_bps=8 / times.link.down_s_per_byte,
        rtt_s=times.link.fixed_s,
    )
    return ProbedPath(found, Transfer.of(times))


def plans_for(network: Network, costs: CostTable, link: LinkProfile) -> dict[str, Plan]:
    """The plans of one network on one link, by name."""
    problem = jd.plan(network, costs, link=link).problem
    named = {"mobile-only": "mobile-only", "cloud-only": "cloud-only", "joint": "auto"}
    plans = {name: jd.plan(network, costs, link=link, placement=p) for name, p in named.items()}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, RANDOM + 1):
            file = Path(folder) / f"{seed}.json"
            file.write_text(json.dumps(random_placement(problem, seed)))
            plans[f"random-{seed}"] = jd.plan(network, costs, link=link, placement=str(file))
    return plans


def random_placement(problem: Problem, seed: int) -> dict[str, str]:
    """Hand over at one to five places; drawn again when the link alone would take too long."""
    draw = random.Random(seed)
    names = [operator.name for operator in problem.operators]
    while True:
        switches = min(draw.randint(1, _MOST_SWITCHES), len(names) - 1)
        places = set(draw.sample(range(1, len(names)), switches))
        side = draw.randrange(2)
        placement = {}
        for index, name in enumerate(names):
            side = (side + (index in places)) % 2
            placement[name] = SIDES[side]
        if _on_link_s(problem, placement) <= _MOST_ON_LINK_S:
            return placement


def _on_link_s(problem: Problem, placement: Mapping[str, str]) -> float:
    metrics, sizes = evaluate(problem, placement), {t.name: t.size_bytes for t in problem.tensors}
    up, down = (sum(sizes[t] for t in way) for way in (metrics.up, metrics.down))
    return problem.link.upload_s(up) + problem.link.download_s(down)


def quietly(work: Callable[[], Any], patience_s: float) -> tuple[Any, float]:
    """Do it while others are quiet; its result, and the cores that others used meanwhile."""
    best: tuple[Any, float] | None = None
    for _ in range(_ATTEMPTS):
        wait_for_quiet(_QUIET_CORES, patience_s)
        load = ForeignLoad()
        result = work()
        cores = load.cores()
        if best is None or cores < best[1]:
            best = result, cores
        if cores <= _QUIET_CORES:
            break
    assert best is not None
    return best


def measure_costs(lab: Lab, network: Network) -> tuple[CostTable, float]:
    """Measure every group anew; the table, and the cores that others used meanwhile."""

    def measure() -> CostTable:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            with urgent():
                devices = stack.enter_context(LoopbackLab(slowdown=lab.slowdown))
            report = stack.enter_context(progress())
            found = jd.Devices(str(devices.tracker), devices.mobile_key, devices.cloud_key)
            database = Path(folder) / "costs"
            return jd.measure(network, devices=found, database=database, progress=report)

    return quietly(measure, lab.patience_s)


def run_plan(lab: Lab, link: LinkProfile, bundle: Path, inputs: Path) -> tuple[list[float], float]:
    """Seconds of each query of a bundle on the bed, and the cores that others used meanwhile."""
    with ExitStack() as stack:
        cloud = stack.enter_context(Cloud(lab.bed, lab.folder / "cache"))
        phone = stack.enter_context(Phone(lab.bed))
        cloud.give(*bundle.glob("cloud*"))
        address = stack.enter_context(lab.bed.shaped(link, cloud.address))
        where = {"bundle": str(bundle), "cloud": str(address), "key": KEY, "inputs": str(inputs)}
        phone.do("open", **where)

        def run() -> list[float]:
            with phone.slowed(lab.slowdown):
                return list(phone.do("run", least=_LEAST, most=_MOST, seconds=_RUN_S))

        return quietly(run, lab.patience_s)


def rows_of(lab: Lab, name: str, network: Network, links: Sequence[str]) -> Iterator[Row]:
    """The rows of one network."""
    costs, foreign = measure_costs(lab, network)
    print(f"{name}: costs measured while others used {foreign:.2f} cores", file=sys.stderr)
    inputs = lab.folder / f"{name}.npz"
    np.savez(inputs, **network_inputs(name, network.inputs))
    for link_name in links:
        link = load_link(link_name)
        path = probe(lab, link)
        found, path_costs = path.link, path.applied_to(costs)
        print(
            f"{link_name}: up {found.uplink_bps / 1e6:.3f}, down {found.downlink_bps / 1e6:.3f} "
            f"Mbit/s, round trip {found.rtt_s * 1e3:.3f} ms; {path.transfer}",
            file=sys.stderr,
        )
        for plan_name, plan in plans_for(network, path_costs, found).items():
            bundle = jd.build(network, plan, fallback=False).save(
                lab.folder / f"{name}-{link_name}-{plan_name}.jd"
            )
            seconds, foreign_cores = run_plan(lab, link, bundle, inputs)
            measured_s, predicted_s = statistics.median(seconds), plan.answer.latency_s
            sides = list(plan.answer.placement.values())
            yield {
                "network": name,
                "link": link_name,
                "plan": plan_name,
                "predicted_s": predicted_s,
                "measured_s": measured_s,
                "error": predicted_s / measured_s - 1,
                "queries": len(seconds),
                "least_s": min(seconds),
                "groups_on_mobile": sides.count("mobile"),
                "groups_on_cloud": sides.count("cloud"),
                "switches": plan.answer.switches,
                "foreign_cores": foreign_cores,
                "foreign_cores_measuring": foreign,
                "load_average": os.getloadavg()[0],
                "slowdown": lab.slowdown,
                "probed": [found.uplink_bps, found.downlink_bps, found.rtt_s],
                "transfer": asdict(path.transfer) if path.transfer else None,
                "corrections": {s: costs.correction(network.graph, s) for s in SIDES},
                "bed": lab.bed.how,
            }


def summary(rows: Sequence[Row]) -> Row:
    """The bars of the whole table."""
    errors = [abs(row["error"]) for row in rows]
    joint = []
    for row in rows:
        if row["plan"] == "joint":
            best_s = min(
                (
                    other["measured_s"]
                    for other in rows
                    if (other["network"], other["link"]) == (row["network"], row["link"])
                    and other["plan"] in ("mobile-only", "cloud-only")
                ),
                default=row["measured_s"],
            )
            joint.append(row["measured_s"] / best_s - 1)
    return {
        "rows": len(rows),
        "median_error": statistics.median(errors),
        "worst_error": max(errors),
        "worst_joint": max(joint, default=0.0),
    }


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [
        f"{'network':12}{'link':16}{'plan':13}{'predicted':>12}{'measured':>12}{'error':>8}"
        f"{'switches':>10}{'queries':>9}{'others':>8}{'load':>6}"
    ]
    for row in rows:
        lines.append(
            f"{row['network']:12}{row['link']:16}{row['plan']:13}"
            f"{row['predicted_s'] * 1e3:9.2f} ms{row['measured_s'] * 1e3:9.2f} ms"
            f"{row['error']:8.1%}{row['switches']:10}{row['queries']:9}"
            f"{row['foreign_cores']:8.2f}{row['load_average']:6.1f}"
        )
    found = summary(rows)
    lines.append(
        f"{found['rows']} rows: median absolute error {found['median_error']:.1%} (bar "
        f"{_MEDIAN_BAR:.0%}), worst {found['worst_error']:.1%} (bar {_WORST_BAR:.0%}); measured "
        f"joint over the better one-sided plan {found['worst_joint']:+.1%} at worst "
        f"(bar {_JOINT_BAR:+.0%})"
    )
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Put a file in place at once: a run that is broken off leaves a whole one."""
    beside = path.with_suffix(".part")
    beside.write_text(text)
    beside.replace(path)


def main() -> int:
    """Prints the table; exit 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        *("--network", "-n"), action="append", choices=network_names(), metavar="NAME"
    )
    parser.add_argument("--link", "-l", action="append", metavar="NAME")
    parser.add_argument("--slowdown", type=float, default=SLOWDOWN, help="default %(default)g")
    parser.add_argument("--json", type=Path, default=Path("prediction.json"), metavar="FILE")
    parser.add_argument("--svg", type=Path, default=Path("prediction.svg"), metavar="FILE")
    parser.add_argument(
        "--patience", type=float, default=60.0, metavar="S", help="for others; default %(default)g"
    )
    parser.add_argument("--user-space", action="store_true", help="shape without root")
    options = parser.parse_args()
    networks, links = options.network or NETWORKS, options.link or LINKS
    os.environ.update(ONE_THREAD)  # of the device servers that costs are measured on
    rows: list[Row] = json.loads(options.json.read_text()) if options.json.exists() else []
    with on_signals(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jointdnn-bed-")))
        bed = stack.enter_context(find_bed(options.user_space))
        lab = Lab(bed, options.slowdown, folder, options.patience)
        print(f"EMULATED: {lab.bed.how}; the phone is slowed {lab.slowdown:g}x", file=sys.stderr)
        for name in networks:
            plans = 3 + RANDOM
            have = [row["link"] for row in rows if row["network"] == name]
            missing = [link for link in links if have.count(link) < plans]
            if not missing:
                continue
            rows = [r for r in rows if r["network"] != name or r["link"] not in missing]
            network = jd.load_network(network_file(name, folder))
            for row in rows_of(lab, name, network, missing):
                print(table([row]).splitlines()[1], file=sys.stderr, flush=True)
                rows.append(row)
                write(options.json, json.dumps(rows, indent=1))
    shown = [row for row in rows if row["network"] in networks and row["link"] in links]
    print(table(shown))
    write(options.svg, scatter(shown, "link"))
    found = summary(shown)
    return int(
        found["median_error"] > _MEDIAN_BAR
        or found["worst_error"] > _WORST_BAR
        or found["worst_joint"] > _JOINT_BAR
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (JointdnnError, OSError) as error:
        sys.exit(f"prediction: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
