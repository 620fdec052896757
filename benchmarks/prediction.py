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
the row. All programs of a network and a link run in turns, round after round, until the rounds of
each agree; a row is their median, so that a moment in which the machine was slow is outvoted. Where
that is allowed, what is timed goes before other processes; what these used meanwhile stands in the
row. The path is timed again, once, where it strays by over 5 % from its line. The prediction has no
part in that.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from bed_rows import Row, about_costs, measure_costs, programs_of, rows_of_plans, summary, write
from bed_site import Lab, Rounds, add_lab_options, open_lab, site_on
from known_networks import network_file, network_inputs, network_names
from scatter import scatter

import jointdnn_tvm as jd
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.errors import JointdnnError
from jointdnn_tvm.network import Network
from jointdnn_tvm.placement import SIDES, Problem, evaluate
from jointdnn_tvm.planning import Plan
from jointdnn_tvm.samples import Samples
from jointdnn_tvm.targets import LinkProfile, load_link

NETWORKS = ("opennsfw", "ppocr_rec", "ppocr_det", "ddddocr_det")
SHAPES = {"ppocr_rec": {"x": (1, 3, 48, 320)}, "ppocr_det": {"x": (1, 3, 320, 320)}}
"""As they are used: a stage must last several rounds of the rhythm that stops the phone."""

LINKS = ("huang2012-3g", "huang2012-4g", "huang2012-wifi", "lan-1g")
RANDOM = 5
_MOST_ON_LINK_S = 8.0
_MOST_SWITCHES = 5
_VIEWS = (1, 2)  # of the input, from which plans know how small its tensors get
_LEAST, _MOST, _RUN_S = 1, 16, 0.8  # queries of a round, and their time together
_MEDIAN_BAR, _WORST_BAR, _JOINT_BAR = 0.05, 0.15, 0.05


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
            turns = site.in_turns(bundles, inputs, Rounds(), **run)
        for row in rows_of_plans(plans, turns):
            yield {**about, **row}


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


def main() -> int:
    """Prints the table; exit 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        *("--network", "-n"), action="append", choices=network_names(), metavar="NAME"
    )
    parser.add_argument("--link", "-l", action="append", metavar="NAME")
    parser.add_argument("--json", type=Path, default=Path("prediction.json"), metavar="FILE")
    parser.add_argument("--svg", type=Path, default=Path("prediction.svg"), metavar="FILE")
    add_lab_options(parser)
    options = parser.parse_args()
    networks, links = options.network or NETWORKS, options.link or LINKS
    rows: list[Row] = json.loads(options.json.read_text()) if options.json.exists() else []
    with open_lab(options) as lab:
        for name in networks:
            plans = 3 + RANDOM
            have = [row["link"] for row in rows if row["network"] == name]
            missing = [link for link in links if have.count(link) < plans]
            if not missing:
                continue
            rows = [r for r in rows if r["network"] != name or r["link"] not in missing]
            network = jd.load_network(network_file(name, lab.folder, SHAPES.get(name)))
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
