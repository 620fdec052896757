"""Planned joint training on the test bed, beside training on the phone alone and the cloud alone.

    python benchmarks/training_bed.py [--network squeezenet]... [--link huang2012-wifi]
        [--json FILE]

The phone's processor and the link are EMULATED (see `testbed.py`). Costs, paths and programs are
measured as in `prediction.py`, a query being a step of training: all programs run in turns, three
rounds, each time in a run that is opened anew, and a row is the median of its rounds. `private` is
the plan that keeps inputs and labels on the phone. Bytes are those of a step's messages, both ways.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bed_rows import Row, about_costs, measure_costs, programs_of, rows_of_plans, summary, write
from bed_site import Lab, Rounds, add_lab_options, open_lab, site_on
from training_steps import step_of, write_batch

import jointdnn_tvm as jd
from jointdnn_tvm.errors import JointdnnError
from jointdnn_tvm.targets import load_link

NETWORKS = ("small_cnn", "squeezenet", "ppocr_cls", "transformer")
LINK = "huang2012-wifi"
PLANS: dict[str, dict[str, Any]] = {
    "mobile-only": {"placement": "mobile-only"},
    "cloud-only": {"placement": "cloud-only"},
    "joint": {},
    "private": {"private": ("inputs", "labels")},
}
_LEAST, _MOST, _RUN_S = 2, 16, 0.8  # steps of a round, and their time together


def rows_of(lab: Lab, name: str, link: str) -> Iterator[Row]:
    """A row for each plan of one network."""
    step = step_of(name, lab.folder)
    batch = lab.folder / f"{name}.npz"
    write_batch(step, batch)
    costs = measure_costs(lab, step)
    with site_on(lab, load_link(link)) as site:
        path = site.probe()
        about = {"network": name, "link": link, **about_costs(lab, path, costs, step)}
        costs = path.applied_to(costs)
        plans = {
            plan: jd.plan_training(step, costs, link=path.link, **how)
            for plan, how in PLANS.items()
        }
        bundles = {
            plan: jd.build_training(
                step,
                plans[plan].answer.placement,
                mobile=costs.mobile,
                cloud=costs.cloud,
                fallback=False,
            ).save(lab.folder / f"{name}-{plan}.jd")
            for plan in dict.fromkeys(programs_of(plans).values())
        }
        run = {"least": _LEAST, "most": _MOST, "seconds": _RUN_S}
        turns = site.in_turns(bundles, batch, Rounds(), "open_training", **run)
    for row in rows_of_plans(plans, turns):
        yield {**about, **row}


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [
        f"{'network':12}{'plan':13}{'predicted':>13}{'measured':>13}{'error':>8}{'kB told':>11}"
        f"{'kB sent':>11}{'mobile':>8}{'cloud':>7}{'switches':>10}{'steps':>7}{'others':>8}"
    ]
    for row in rows:
        told, sent = row["up_bytes"] + row["down_bytes"], sum(row["crossed_bytes"].values())
        lines.append(
            f"{row['network']:12}{row['plan']:13}{row['predicted_s'] * 1e3:10.1f} ms"
            f"{row['measured_s'] * 1e3:10.1f} ms{row['error']:8.1%}{told / 1e3:11.1f}"
            f"{sent / 1e3:11.1f}{row['groups_on_mobile']:8}{row['groups_on_cloud']:7}"
            f"{row['switches']:10}{row['queries']:7}{row['foreign_cores']:8.2f}"
        )
    found = summary(rows)
    lines.append(
        f"{found['rows']} rows: median absolute error {found['median_error']:.1%}, worst "
        f"{found['worst_error']:.1%}; measured joint over the better one-sided plan "
        f"{found['worst_joint']:+.1%} at worst"
    )
    return "\n".join(lines)


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", metavar="NAME", help="default: some")
    parser.add_argument("--link", default=LINK, metavar="NAME", help="default %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every row's numbers")
    add_lab_options(parser)
    options = parser.parse_args()
    rows: list[Row] = []
    with open_lab(options) as lab:
        for name in options.network or NETWORKS:
            rows.extend(rows_of(lab, name, options.link))
            if options.json:
                write(options.json, json.dumps(rows, indent=1) + "\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (JointdnnError, OSError) as error:
        sys.exit(f"training_bed: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
