"""How near this machine's kernels come to its roofline: the ``[roofline]`` table of its profile.

    python benchmarks/roofline.py [--target host] [--network squeezenet] [--json FILE]

Measures every group of some networks on this machine and sets it against the best case that the
profile's peak and bandwidth allow. A kind's efficiency is the best case of all its groups
together, over the time that they took, without what a kernel costs before it begins; that is
taken from the quickest group. The table that is printed goes into a copy of the profile. Then, for
each network, its estimate with these figures over what was measured, and how far both put its
groups in the same order.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from known_networks import network_file, network_names

import jointdnn_tvm as jd
from jointdnn_tvm.cli.console import progress
from jointdnn_tvm.cost.count_work import count_work
from jointdnn_tvm.cost.roofline import Work, latency_s
from jointdnn_tvm.targets import TargetProfile, load_target
from jointdnn_tvm.targets.roofline import KINDS, RooflineFigures

_DEFAULT = ("opennsfw", "squeezenet", "ppocr_det", "ppocr_rec", "onet")


@dataclass(frozen=True)
class Timed:
    """A distinct group: what it computes, and the seconds that it took."""

    network: str
    work: Work
    seconds: float


def measure(names: Sequence[str], target: str, models: Path, costs: Path) -> list[Timed]:
    """Time the distinct groups of the networks."""
    found = []
    for name in names:
        network = jd.load_network(network_file(name, models))
        with progress() as report:
            table = jd.measure(
                network, mobile=target, cloud=target, database=costs, progress=report
            ).on_mobile
        groups = {g.key: g.name for g in network.graph.groups}
        for key, group in groups.items():
            seconds = table[key].latency_s
            work = count_work(network.grouped[group])
            if seconds is not None and work.kernels:
                found.append(Timed(name, work, seconds))
    return found


def fit(groups: Sequence[Timed], profile: TargetProfile) -> RooflineFigures:
    """The figures with which each kind's groups take, all together, what was measured."""
    best = replace(profile, roofline=RooflineFigures(0.0, {}, ""))
    call_s = min(g.seconds / g.work.kernels for g in groups)
    shares = {}
    for kind in KINDS:
        of_kind = [g for g in groups if g.work.kind == kind]
        took_s = sum(g.seconds - g.work.kernels * call_s for g in of_kind)
        if took_s > 0:
            best_s = sum(latency_s(g.work, best) for g in of_kind)
            shares[kind] = round(best_s / took_s, 3)
    return RooflineFigures(call_s, shares, "benchmarks/roofline.py")


def check(groups: Sequence[Timed], profile: TargetProfile) -> list[dict[str, Any]]:
    """Each network's estimate beside what was measured."""
    rows = []
    for name in dict.fromkeys(g.network for g in groups):
        mine = [g for g in groups if g.network == name]
        guesses, times = [latency_s(g.work, profile) for g in mine], [g.seconds for g in mine]
        ranks = [np.argsort(np.argsort(values)) for values in (guesses, times)]
        rows.append({
            "network": name,
            "groups": len(mine),
            "measured_s": sum(times),
            "estimated_s": sum(guesses),
            "rank_correlation": float(np.corrcoef(ranks)[0, 1]),
        })  # fmt: skip
    return rows


def main() -> int:
    """Prints the table and the check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="host", help="a profile of this machine; default host")
    parser.add_argument(
        "--network", action="append", choices=network_names(), metavar="NAME", help="default: some"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    options = parser.parse_args()
    profile = load_target(options.target)
    with tempfile.TemporaryDirectory() as folder:
        names = options.network or _DEFAULT
        groups = measure(names, options.target, Path(folder), Path(folder) / "costs")
    figures = fit(groups, profile)
    rows = check(groups, replace(profile, roofline=figures))
    print(f'[roofline]\ncall_s = {figures.call_s:.2g}\nsource = "{figures.source}"\n')
    print("[roofline.efficiency]")
    print("\n".join(f"{kind} = {share}" for kind, share in figures.efficiency.items()), "\n")
    for row in rows:
        print(
            f"{row['network']:12}{row['groups']:5} groups  "
            f"measured {row['measured_s'] * 1e3:8.2f} ms  "
            f"estimated / measured {row['estimated_s'] / row['measured_s']:5.2f}  "
            f"rank correlation {row['rank_correlation']:.2f}"
        )
    if options.json:
        options.json.write_text(json.dumps({"figures": vars(figures), "networks": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
