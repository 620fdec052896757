"""What crosses the link, on the test bed: joint plans with codecs and without, beside cloud-only.

    python benchmarks/crossings.py [--network ppocr_rec]... [--link huang2012-4g]...
        [--max-error 0.02] [--rounds 8] [--json FILE]

Trained networks see photographs; half of these choose the codecs, the other half judge each plan.
Cloud-only sends the input as floats, by the codecs that plans have, and as a user would: the
picture's own PNG or JPEG file, whose making is timed (see `picture_files.py`). Costs are measured
on device servers on loopback and the path on the test bed, as in `prediction.py`; then all plans
run in turns, round after round, so that what else the machine does hits all alike, equal plans
as one program. Bytes are those of the messages. The last lines hold joint plans against the best
cloud-only row within their error.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from bed_rows import Row, measure_costs, programs_of, write
from bed_site import Lab, Rounds, Site, Turn, add_lab_options, middle_mean, open_lab, site_on
from known_networks import network_file_of_shape
from picture_files import NAMES, register
from real_activations import SHAPES, network_input, pictures

import jointdnn_tvm as jd
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.errors import CodecError, JointdnnError
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.offering import Offer
from jointdnn_tvm.planning import Plan
from jointdnn_tvm.samples import Samples
from jointdnn_tvm.targets import load_link

NETWORKS = ("ppocr_rec", "ppocr_det")
LINKS = ("huang2012-4g", "huang2012-wifi")
_FILES = str(Path(__file__).with_name("picture_files.py"))
_QUERIES = 3  # of a plan in a round


def photographs(name: str, network: Network) -> Samples:
    """The network's pictures, as it takes them."""
    (tensor,) = network.graph.inputs
    arrays = [network_input(name, p, SHAPES[name]) for p in pictures(name, SHAPES[name])]
    return Samples(tuple({tensor: array} for array in arrays), True, f"{len(arrays)} photographs")


def offers_for(
    network: Network, costs: CostTable, samples: Samples, max_error: float
) -> dict[str, Offer]:
    """What plans may choose from: nothing, exact codecs, all codecs."""
    found = {"floats": jd.offer_codecs(network, costs, "none")}
    found["lossless"] = jd.offer_codecs(network, costs, calibrate=samples)
    try:
        found["lossy"] = jd.offer_codecs(
            network, costs, "lossy", calibrate=samples, max_error=max_error
        )
    except CodecError as error:
        print(f"no lossy codecs: {error}", file=sys.stderr)
    return found


def plans_for(
    network: Network, costs: CostTable, site: Site, offers: Mapping[str, Offer]
) -> dict[str, Plan]:
    """All plans, by name."""
    path = site.probe()
    costs = path.applied_to(costs)
    plans = {
        "mobile-only": jd.plan(
            network, costs, link=path.link, placement="mobile-only", codecs="none"
        )
    }
    for kind, offer in offers.items():
        for name, placement in (("joint", "auto"), ("cloud-only", "cloud-only")):
            plans[f"{name}, {kind}"] = jd.plan(
                network, costs, link=path.link, placement=placement, codecs=offer
            )
    (tensor,) = network.graph.inputs
    exact = plans["cloud-only, lossless"]
    for codec in NAMES:
        answer = replace(exact.answer, codecs={**exact.answer.codecs, tensor: codec})
        plans[f"cloud-only, {codec}"] = replace(exact, answer=answer)
    return plans


def error_of(plan: Plan, offers: Mapping[str, Offer]) -> float | None:
    """How far the plan's answers are from the network's own, if that can be told."""
    trial = offers["lossy"].trial if "lossy" in offers else None
    if trial is None:
        return None
    return trial.run(plan.answer.placement, plan.answer.codecs, plan.in_module).error


def rows_of(lab: Lab, name: str, links: Sequence[str], max_error: float, rounds: int) -> list[Row]:
    """The rows of one network."""
    network = load_network(network_file_of_shape(name, lab.folder, SHAPES[name]))
    samples = photographs(name, network)
    (spec,) = network.inputs
    inputs = lab.folder / f"{name}.npz"
    np.savez(inputs, **{spec.name: samples.inputs[1][network.graph.inputs[0]]})
    costs = measure_costs(lab, network)
    offers = offers_for(network, costs, samples, max_error)
    rows = []
    for link in links:
        with site_on(lab, load_link(link)) as site:
            plans = plans_for(network, costs, site, offers)
            programs = programs_of(plans)
            bundles = {
                plan_name: jd.build(network, plans[plan_name], fallback=False).save(
                    lab.folder / f"{name}-{link}-{index}.jd"
                )
                for index, plan_name in enumerate(dict.fromkeys(programs.values()))
            }
            queries = {"least": _QUERIES, "most": _QUERIES, "seconds": 0}
            turns = site.in_turns(bundles, inputs, Rounds(rounds, rounds), **queries)
        for plan_name, plan in plans.items():
            about = {"network": name, "link": link, "slowdown": lab.slowdown, "bed": lab.bed.how}
            error = error_of(plan, offers)
            about["program_of"] = programs[plan_name]
            rows.append({**about, **_row(plan_name, plan, error, turns[programs[plan_name]])})
    return rows


def _row(name: str, plan: Plan, error: float | None, turns: Sequence[Turn]) -> Row:
    sides = list(plan.answer.placement.values())
    queries = [query for turn in turns for query in turn.queries]
    seconds = [query_s for query_s, _ in queries]
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return {
        "plan": name,
        "predicted_s": None if name.endswith(NAMES) else plan.answer.latency_s,
        "measured_s": middle_mean(seconds),
        "quartiles_s": [low, high],
        "own_s": middle_mean([own_s for _, own_s in queries]),
        "up_bytes": turns[-1].crossed["up"],
        "down_bytes": turns[-1].crossed["down"],
        "error": error,
        "groups_on_mobile": sides.count("mobile"),
        "codecs": plan.answer.codecs,
    }


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [
        f"{'network':11}{'link':16}{'plan':22}{'predicted':>12}{'measured':>12}{'quartiles':>16}"
        f"{'up':>9}{'down':>9}{'error':>9}{'on mobile':>11}"
    ]
    for row in rows:
        predicted = "-" if row["predicted_s"] is None else f"{row['predicted_s'] * 1e3:.1f} ms"
        low, high = (f"{s * 1e3:.1f}" for s in row["quartiles_s"])
        error = "-" if row["error"] is None else f"{row['error']:.1e}"
        lines.append(
            f"{row['network']:11}{row['link']:16}{row['plan']:22}{predicted:>12}"
            f"{row['measured_s'] * 1e3:9.1f} ms{low + ' to ' + high:>16}"
            f"{row['up_bytes'] / 1e3:6.1f} KB{row['down_bytes'] / 1e3:6.1f} KB{error:>9}"
            f"{row['groups_on_mobile']:11}"
        )
    return "\n".join(lines)


def _bytes(row: Row) -> int:
    return int(row["up_bytes"]) + int(row["down_bytes"])


def verdicts(rows: Sequence[Row], max_error: float) -> list[str]:
    """Joint plans over the best cloud-only row whose error is within theirs."""
    lines = []
    for row in rows:
        if not row["plan"].startswith("joint"):
            continue
        allowed = max_error if row["plan"] == "joint, lossy" else 1e-4
        others = [
            other
            for other in rows
            if (other["network"], other["link"]) == (row["network"], row["link"])
            and other["plan"].startswith("cloud-only")
            and (other["error"] or 0.0) <= allowed
            and (row["plan"] != "joint, floats" or other["plan"] == "cloud-only, floats")
        ]
        best = min(others, key=lambda other: float(other["measured_s"]))
        more_s = row["measured_s"] / best["measured_s"] - 1
        more_bytes = _bytes(row) / _bytes(best) - 1
        lines.append(
            f"{row['network']}, {row['link']}: {row['plan']} over {best['plan']}: "
            f"{more_s:+.1%} latency, {more_bytes:+.1%} bytes"
        )
    return lines


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", "-n", action="append", choices=list(SHAPES), metavar="NAME")
    parser.add_argument("--link", "-l", action="append", metavar="NAME")
    parser.add_argument("--max-error", type=float, default=0.02, help="default %(default)g")
    parser.add_argument("--rounds", type=int, default=8, metavar="N", help="default %(default)s")
    parser.add_argument("--json", type=Path, default=Path("crossings.json"), metavar="FILE")
    add_lab_options(parser)
    options = parser.parse_args()
    register()
    rows: list[Row] = []
    with open_lab(options, (_FILES, "device"), (_FILES, "phone")) as lab:
        for name in options.network or NETWORKS:
            links = options.link or LINKS
            rows += rows_of(lab, name, links, options.max_error, options.rounds)
            write(options.json, json.dumps(rows, indent=1))
    print("\n".join([table(rows), *verdicts(rows, options.max_error)]))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (JointdnnError, OSError) as error:
        sys.exit(f"crossings: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
