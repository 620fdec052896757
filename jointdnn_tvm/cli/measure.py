"""`jointdnn measure`: what every group of a network costs on both devices."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from jointdnn_tvm.cli import arguments
from jointdnn_tvm.cli.console import progress
from jointdnn_tvm.cli.units import quantity

HELP = "time a network's operator groups on the devices of both sides"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's own arguments."""
    arguments.add_model(parser)
    arguments.add_targets(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure what is not known yet, and return every group's costs."""
    from jointdnn_tvm.api import find_costs, load_network

    network = load_network(args.model, arguments.shapes(args))
    with progress() as report:
        costs = find_costs(
            network,
            mobile=args.mobile,
            cloud=args.cloud,
            devices=arguments.devices(args),
            database=args.costs,
            progress=report,
        )
    return {
        "network": network.name,
        "newly_measured": costs.measured,
        "doubts": list(costs.doubts),
        "transfer": None if costs.transfer is None else asdict(costs.transfer),
        "groups": [
            {
                "name": g.name,
                "operators": list(g.operators),
                "mobile": _cost(costs.on_mobile[g.key]),
                "cloud": _cost(costs.on_cloud[g.key]),
            }
            for g in network.graph.groups
        ],
    }


def render(result: dict[str, Any]) -> str:
    """Show a line a group."""
    width = max(len(g["name"]) for g in result["groups"])
    lines = [f"{'group':{width}}  {'mobile, us':>14}  {'cloud, us':>14}"]
    for group in result["groups"]:
        sides = "  ".join(f"{_cell(group[side]):>14}" for side in ("mobile", "cloud"))
        lines.append(f"{group['name']:{width}}  {sides}")
    for group in result["groups"]:
        for side in ("mobile", "cloud"):
            if group[side]["latency_s"] is None:
                lines.append(f"{group['name']} cannot run on the {side}: {group[side]['reason']}")
    costs = [group[side] for group in result["groups"] for side in ("mobile", "cloud")]
    if any(cost["repeats"] and not cost["steady"] for cost in costs):
        lines.append("?: the median is not known within 2 %; measure on a device that is idle")
    if transfer := result["transfer"]:
        up, down = (quantity(transfer[f"{way}_s_per_byte"], "s") for way in ("up", "down"))
        lines.append(
            f"a visit to the cloud costs both sides {quantity(transfer['call_s'], 's')}, "
            f"a byte {up} up and {down} down, beside the link; {transfer['source']}"
        )
    sources = {cost["source"] for cost in costs}
    lines.append(f"newly measured: {result['newly_measured']}; {', '.join(sorted(sources))}")
    lines += result["doubts"]
    return "\n".join(lines)


def _cost(measurement: Any) -> dict[str, Any]:
    return {
        "latency_s": measurement.latency_s,
        "spread_s": measurement.spread_s,
        "interval_s": measurement.interval_s,
        "repeats": measurement.repeats,
        "steady": measurement.steady,
        "reason": measurement.reason,
        "source": measurement.source,
        "energy": None if measurement.energy is None else asdict(measurement.energy),
    }


def _cell(cost: dict[str, Any]) -> str:
    if cost["latency_s"] is None:
        return "cannot run"
    if not cost["repeats"]:
        return f"{cost['latency_s'] * 1e6:.1f}"
    within_s = cost["spread_s"] if cost["interval_s"] is None else cost["interval_s"]
    return f"{cost['latency_s'] * 1e6:.1f} ±{within_s * 1e6:.1f}{' ' if cost['steady'] else '?'}"
