"""Predicted against measured latency on the test bed: a table, and a scatter plot as SVG.

    python benchmarks/prediction.py [--network opennsfw]... [--link huang2012-4g]...
        [--json FILE] [--svg FILE]

For every network and link: mobile-only, cloud-only, joint and five random plans. Its costs are
measured on device servers on loopback, the phone's slowed as it is on the test bed, then bundles
run for real (see `testbed.py`; root, else a shaper in user space). Rows that are in the
JSON file are kept, so that a run that was broken off goes on where it was.

A random plan hands over between the sides at one to five places, drawn from the execution order;
one whose bytes alone keep the link busy for over 8 s is drawn again.

Plans with the same placement and codecs are the same program: it is measured once, and they share
the row. All programs of a network and a link run in turns, three rounds; a row is the median of its
rounds, so that a moment in which the machine was slow is outvoted. Where that is allowed, what is
timed goes before other processes; what these used meanwhile stands in the row. The path is timed
again, once, where it strays by over 5 % from its line. The prediction has no part in that.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from foreign_load import ForeignLoad
from known_networks import network_file, network_inputs, network_names
from scatter import scatter
from testbed import (
    KEY,
    ONE_THREAD,
    PHONE,
    SERVER,
    SLOWDOWN,
    Bed,
    Cloud,
    Phone,
    find_bed,
    on_signals,
)
from undisturbed import awake, urgent

import jointdnn_tvm as jd
from jointdnn_tvm.cli.console import progress
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.errors import JointdnnError
from jointdnn_tvm.network import Network, Placeable
from jointdnn_tvm.placement import SIDES, Problem, evaluate
from jointdnn_tvm.planning import Plan
from jointdnn_tvm.probing import ProbedPath
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.link_probe import PathTimes
from jointdnn_tvm.samples import Samples
from jointdnn_tvm.targets import LinkProfile, load_link

NETWORKS = ("opennsfw", "ppocr_rec", "ppocr_det", "ddddocr_det")
SHAPES = {"ppocr_rec": {"x": (1, 3, 48, 320)}, "ppocr_det": {"x": (1, 3, 320, 320)}}
"""As they are used: a stage must last several rounds of the rhythm that stops the phone."""

LINKS = ("huang2012-3g", "huang2012-4g", "huang2012-wifi", "lan-1g")
RANDOM = 5
_MOST_ON_LINK_S = 8.0
_MOST_SWITCHES = 5
_STEADY, _ATTEMPTS = 0.05, 2
ROUNDS = 3
_VIEWS = (1, 2)  # of the input, from which plans know how small its tensors get
_LEAST, _MOST, _RUN_S = 1, 16, 0.8  # queries of a round, and their time together
_MEDIAN_BAR, _WORST_BAR, _JOINT_BAR = 0.05, 0.15, 0.05

Row = dict[str, Any]


@dataclass(frozen=True)
class Lab:
    """What all rows share."""

    bed: Bed
    slowdown: float
    folder: Path
    server: Sequence[str] = SERVER
    phone: Sequence[str] = PHONE


def plans_for(
    network: Network, costs: CostTable, link: LinkProfile, samples: Samples
) -> dict[str, Plan]:
    """The plans of one network on one link, by name; samples say how small tensors get."""
    codecs = jd.offer_codecs(network, costs, calibrate=samples)
    planned = partial(jd.plan, network, costs, link=link, codecs=codecs)
    problem = planned().problem
    named = {"mobile-only": "mobile-only", "cloud-only": "cloud-only", "joint": "auto"}
    plans = {name: planned(placement=p) for name, p in named.items()}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, RANDOM + 1):
            file = Path(folder) / f"{seed}.json"
            file.write_text(json.dumps(random_placement(problem, seed)))
            plans[f"random-{seed}"] = planned(placement=str(file))
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


def other_inputs(name: str, network: Network) -> Samples:
    """Inputs of the same kind as that of the queries."""
    views = [network_inputs(name, network.inputs, view).values() for view in _VIEWS]
    inputs = tuple(dict(zip(network.graph.inputs, view, strict=True)) for view in views)
    return Samples(inputs, True, f"{len(inputs)} inputs other than that of the queries")


def _on_link_s(problem: Problem, placement: Mapping[str, str]) -> float:
    metrics, sizes = evaluate(problem, placement), {t.name: t.size_bytes for t in problem.tensors}
    up, down = (sum(sizes[t] for t in way) for way in (metrics.up, metrics.down))
    return problem.link.upload_s(up) + problem.link.download_s(down)


def middle_mean(values: Sequence[float]) -> float:
    """The mean without a tenth at each end.

    The rhythm that stops the phone makes latencies multiples of its period, more often the nearer
    ones; a median would be one multiple or the other.
    """
    ordered = sorted(values)
    outside = len(ordered) // 10
    return statistics.fmean(ordered[outside : len(ordered) - outside])


def measure_costs(lab: Lab, network: Placeable) -> CostTable:
    """Measure every group anew."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        with urgent():
            devices = stack.enter_context(LoopbackLab(slowdown=lab.slowdown))
        report = stack.enter_context(progress())
        found = jd.Devices(str(devices.tracker), devices.mobile_key, devices.cloud_key)
        return jd.measure(network, devices=found, database=Path(folder) / "costs", progress=report)


@dataclass(frozen=True)
class Turn:
    """Some queries of one bundle: seconds of each and of the phone's part in it."""

    bundle: str
    queries: list[tuple[float, float]]
    crossed: Mapping[str, int]
    """Bytes of the messages of the last query, by direction."""
    foreign_cores: float
    """What other processes used meanwhile."""


@dataclass(frozen=True)
class Site:
    """Both sides, up and running, and a link between them."""

    lab: Lab
    link: LinkProfile
    cloud: Cloud
    phone: Phone
    address: Address

    def probe(self) -> ProbedPath:
        """The path as the phone finds it: the link, and what messages take beside it."""
        tries: list[PathTimes] = []
        while len(tries) < _ATTEMPTS and (not tries or min(map(_stray, tries)) > _STEADY):
            with self.phone.slowed(self.lab.slowdown):
                answer = self.phone.do("probe", cloud=str(self.address), key=KEY)
            tries.append(PathTimes.from_json(answer))
        times = min(tries, key=_stray)
        found = replace(
            self.link,
            uplink_bps=8 / times.link.up_s_per_byte,
            downlink_bps=8 / times.link.down_s_per_byte,
            rtt_s=times.link.fixed_s,
        )
        return ProbedPath(found, Transfer.of(times))

    def in_turns(
        self,
        bundles: Mapping[str, Path],
        inputs: Path,
        rounds: int,
        job: str = "open",
        **run: float,
    ) -> Iterator[Turn]:
        """Run bundles one after the other, round after round; `run` says how many queries.

        So what else the machine does for a while hits all alike, and one round of each. `job` is
        the phone's that opens a bundle.
        """
        for bundle in bundles.values():
            self.cloud.give(*bundle.glob("cloud*"))
        where = {"cloud": str(self.address), "key": KEY, "inputs": str(inputs)}
        for done in range(rounds):
            print(f"round {done + 1} of {rounds}", file=sys.stderr, flush=True)
            for name, bundle in bundles.items():
                self.phone.do(job, bundle=str(bundle), **where)
                load = ForeignLoad()
                with self.phone.slowed(self.lab.slowdown):
                    queries = self.phone.do("run", **run)
                foreign_cores = load.cores()
                crossed = self.phone.do("crossed")
                self.phone.do("close")
                yield Turn(
                    name, [(query_s, own_s) for query_s, own_s in queries], crossed, foreign_cores
                )


def _stray(times: PathTimes) -> float:
    return max(times.link.error, times.messages.error)


@contextmanager
def site_on(lab: Lab, link: LinkProfile) -> Iterator[Site]:
    """Both sides with that link between them."""
    with (
        Cloud(lab.bed, lab.folder / "cache", lab.server) as cloud,
        Phone(lab.bed, lab.phone) as phone,
        lab.bed.shaped(link, cloud.address) as address,
    ):
        phone.do("close")  # it is up
        yield Site(lab, link, cloud, phone, address)


def rows_of(lab: Lab, name: str, network: Network, links: Sequence[str]) -> Iterator[Row]:
    """The rows of one network."""
    inputs = lab.folder / f"{name}.npz"
    np.savez(inputs, **network_inputs(name, network.inputs))
    samples = other_inputs(name, network)
    for link_name in links:
        costs = measure_costs(lab, network)  # anew: the machine may have got busier
        with site_on(lab, load_link(link_name)) as site:
            path = site.probe()
            about = {"network": name, "link": link_name, **about_costs(lab, path, costs, network)}
            print(json.dumps(about), file=sys.stderr)
            plans = plans_for(network, path.applied_to(costs), path.link, samples)
            bundles = {
                plan_name: jd.build(network, plans[plan_name], fallback=False).save(
                    lab.folder / f"{name}-{link_name}-{plan_name}.jd"
                )
                for plan_name in dict.fromkeys(programs_of(plans).values())
            }
            run = {"least": _LEAST, "most": _MOST, "seconds": _RUN_S}
            turns = list(site.in_turns(bundles, inputs, ROUNDS, **run))
        for row in rows_of_plans(plans, turns):
            yield {**about, **row}


def about_costs(lab: Lab, path: ProbedPath, costs: CostTable, network: Placeable) -> Row:
    """What the rows of a network on one link share."""
    probed = path.link
    return {
        "slowdown": lab.slowdown,
        "bed": lab.bed.how,
        "corrections": {side: costs.correction(network.graph, side) for side in SIDES},
        "probed": [probed.uplink_bps, probed.downlink_bps, probed.rtt_s],
        "transfer": asdict(path.transfer) if path.transfer else None,
    }


def programs_of(plans: Mapping[str, Plan]) -> dict[str, str]:
    """For each plan the name of the first one that is built into the same program."""
    first: dict[str, str] = {}
    built = {name: json.dumps([p.answer.placement, p.answer.codecs]) for name, p in plans.items()}
    return {name: first.setdefault(key, name) for name, key in built.items()}


def rows_of_plans(plans: Mapping[str, Plan], turns: Sequence[Turn]) -> Iterator[Row]:
    """A row for each plan, by the turns of its program."""
    for name, program in programs_of(plans).items():
        own = [turn for turn in turns if turn.bundle == program]
        yield {"plan": name, "program_of": program, **_row(plans[name], own)}


def _row(plan: Plan, turns: Sequence[Turn]) -> Row:
    answer = plan.answer
    of_rounds = [middle_mean([query_s for query_s, _ in turn.queries]) for turn in turns]
    own_s = [middle_mean([own_s for _, own_s in turn.queries]) for turn in turns]
    measured_s = statistics.median(of_rounds)
    sides = list(answer.placement.values())
    metrics = evaluate(plan.problem, answer.placement)
    sizes = {t.name: t.size_bytes for t in plan.problem.tensors}
    mobile_s = sum(
        o.mobile.latency_s
        for o in plan.problem.operators
        if o.mobile and answer.placement[o.name] == "mobile"
    )
    return {
        "predicted_s": answer.latency_s,
        "measured_s": measured_s,
        "error": answer.latency_s / measured_s - 1,
        "rounds_s": of_rounds,
        "queries": sum(len(turn.queries) for turn in turns),
        "foreign_cores": max(turn.foreign_cores for turn in turns),
        "predicted_mobile_s": mobile_s,
        "measured_mobile_s": statistics.median(own_s),
        "predicted_cloud_s": answer.cloud_s,
        "codecs": dict(answer.codecs),
        "up_bytes": sum(sizes[t] for t in metrics.up),
        "down_bytes": sum(sizes[t] for t in metrics.down),
        "crossed_bytes": turns[-1].crossed,
        "groups_on_mobile": sides.count("mobile"),
        "groups_on_cloud": sides.count("cloud"),
        "switches": answer.switches,
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
        f"{'switches':>10}{'queries':>9}{'others':>8}"
    ]
    for row in rows:
        lines.append(
            f"{row['network']:12}{row['link']:16}{row['plan']:13}"
            f"{row['predicted_s'] * 1e3:9.2f} ms{row['measured_s'] * 1e3:9.2f} ms"
            f"{row['error']:8.1%}{row['switches']:10}{row['queries']:9}"
            f"{row['foreign_cores']:8.2f}"
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
    parser.add_argument("--user-space", action="store_true", help="shape without root")
    options = parser.parse_args()
    networks, links = options.network or NETWORKS, options.link or LINKS
    os.environ.update(ONE_THREAD)  # of the device servers that costs are measured on
    rows: list[Row] = json.loads(options.json.read_text()) if options.json.exists() else []
    with on_signals(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jointdnn-bed-")))
        stack.enter_context(awake())
        bed = stack.enter_context(find_bed(options.user_space))
        lab = Lab(bed, options.slowdown, folder)
        print(f"EMULATED: {lab.bed.how}; the phone is slowed {lab.slowdown:g}x", file=sys.stderr)
        for name in networks:
            plans = 3 + RANDOM
            have = [row["link"] for row in rows if row["network"] == name]
            missing = [link for link in links if have.count(link) < plans]
            if not missing:
                continue
            rows = [r for r in rows if r["network"] != name or r["link"] not in missing]
            network = jd.load_network(network_file(name, folder, SHAPES.get(name)))
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
