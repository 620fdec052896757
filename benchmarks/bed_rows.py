"""Plans on the test bed: their costs, and what was predicted beside what was measured."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bed_site import Lab, Turn
from undisturbed import urgent

import jointdnn_tvm as jd
from jointdnn_tvm.cli.console import progress
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.network import Placeable
from jointdnn_tvm.placement import SIDES, evaluate
from jointdnn_tvm.planning import Plan
from jointdnn_tvm.probing import ProbedPath

Row = dict[str, Any]


def measure_costs(lab: Lab, network: Placeable) -> CostTable:
    """Measure every group anew."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        with urgent():
            devices = stack.enter_context(LoopbackLab(slowdown=lab.slowdown))
        report = stack.enter_context(progress())
        found = jd.Devices(str(devices.tracker), devices.mobile_key, devices.cloud_key)
        return jd.measure(network, devices=found, database=Path(folder) / "costs", progress=report)


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


def rows_of_plans(plans: Mapping[str, Plan], turns: Mapping[str, Sequence[Turn]]) -> Iterator[Row]:
    """A row for each plan, by the turns of its program."""
    for name, program in programs_of(plans).items():
        yield {"plan": name, "program_of": program, **_row(plans[name], turns[program])}


def _row(plan: Plan, turns: Sequence[Turn]) -> Row:
    answer = plan.answer
    of_rounds = [turn.latency_s for turn in turns]
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
        "measured_mobile_s": statistics.median(turn.own_s for turn in turns),
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


def write(path: Path, text: str) -> None:
    """Put a file in place at once: a run that is broken off leaves a whole one."""
    beside = path.with_suffix(".part")
    beside.write_text(text)
    beside.replace(path)
