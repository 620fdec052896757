"""`jointdnn explain`: why a plan is as it is, what else there was, and when that would change."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jointdnn_tvm.cli import plan, problems
from jointdnn_tvm.cli.own_conditions import with_own_conditions
from jointdnn_tvm.cli.units import quantity

HELP = "say why a plan is the best: alternatives, limits, and where it would change"

_CLOSEST = 5  # alternatives that the text shows; the JSON has all
_REFUSED = 2  # better ones that break a limit
_AROUND = 3  # regions that the text shows on each side of the present one
_RUNS = 3  # stages that the text tells one by one
_CONDITIONS = {
    "uplink_bps": ("uplink", "bit/s"),
    "downlink_bps": ("downlink", "bit/s"),
    "rtt_s": ("round trip", "s"),
    "slowdown": ("slowdown of the cloud", "x"),
}
_UNITS = {"latency": "s", "energy": "J", "throughput": "s"}
_SAYS = {"latency": "latency", "energy": "mobile energy", "throughput": "one query every"}

Document = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb: those of `plan`."""
    plan.add_arguments(parser)


def run(args: argparse.Namespace) -> Document | None:
    """Explain the network's plan, or the file's: for a .jsonl file a printed line for each."""
    from jointdnn_tvm.placement import InfeasibleError, explain

    if plan.is_file(args):
        return problems.answer_file(args, lambda problem: explain(problem).to_json(), render)
    try:
        chosen = plan.plan_network(args)
    except InfeasibleError as error:
        return error.to_json()
    names = {"link": chosen.link.name, "mobile": chosen.mobile.name, "cloud": chosen.cloud.name}
    explanation = with_own_conditions(explain(chosen.problem, chosen.answer).to_json(), chosen)
    return {**explanation, **names, "sources": dict(chosen.sources)}


def render(found: Document) -> str:
    """The explanation for people."""
    if refusal := problems.refusal(found):
        return refusal
    sections = (
        _plan(found),
        _parts(found),
        _crossings(found),
        _limits(found),
        _moves(found),
        _baselines(found),
        _changes(found),
        [f"{what}: {source}" for what, source in found.get("sources", {}).items()],
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _plan(found: Document) -> list[str]:
    answer = found["answer"]
    lines = [
        f"{found['status']}: {_objective(found, answer['objective'])} ({answer['solver']})",
        f"  {_stages(answer['placement'])}",
    ]
    if found["optimum"] < answer["objective"]:
        lines.append(f"  the optimum: {_objective(found, found['optimum'])}")
    return lines


def _parts(found: Document) -> list[str]:
    parts, answer = found["parts"], found["answer"]
    in_joules = found["objective"] == "energy"
    key, unit = ("energy_j", "J") if in_joules else ("latency_s", "s")
    total = answer[key]
    rows = [
        (name.replace("_", " "), quantity(part[key], unit), f"{part[key] / total:.1%}")
        for name, part in parts.items()
        if part[key]
    ]
    rows.append(("together", quantity(total, unit), ""))
    busiest, seconds = found["bottleneck"], found["busy_s"][found["bottleneck"]]
    return [
        f"what a query's {'energy' if in_joules else 'latency'} goes to",
        *_table(rows),
        f"  in a stream of queries the {busiest} is busiest: {quantity(seconds, 's')} each",
    ]


def _crossings(found: Document) -> list[str]:
    if not found["crossings"]:
        return []
    rows = []
    for crossing in found["crossings"]:
        codec = crossing["codec"]
        codec_s = crossing["mobile_codec_s"] + crossing["cloud_codec_s"]
        rows.append((
            crossing["direction"],
            crossing["tensor"],
            quantity(crossing["size_bytes"], "B") + ("" if codec == "none" else f" by {codec}"),
            quantity(crossing["link_s"] + codec_s, "s"),
            quantity(crossing["energy_j"], "J"),
        ))  # fmt: skip
    return ["what crosses the link", *_table(rows)]


def _limits(found: Document) -> list[str]:
    keys = found["limits"].items()
    rows = []
    for name, use in keys:
        if use["binding"]:
            better = _objective(found, use["objective_without"])
            says = f"binds: without it {better}"
        else:
            says = "does not bind" if use["binding"] is False else "not known whether it binds"
        share = f"{use['share']:.1%}" if use["share"] is not None else ""
        rows.append((name, f"{use['taken']:.6g} of {use['limit']:.6g}", share, says))
    return ["limits", *_table(rows)] if rows else []


def _moves(found: Document) -> list[str]:
    possible, refused, stuck = [], [], 0
    for move in found["moves"]:
        result = move["result"]
        if result["why_not"] is None:
            possible.append(move)
        elif result["change"] is None:
            stuck += 1
        elif result["change"] < 0:
            refused.append(move)
    rows = [
        (_change(found, move["result"]["change"]), _moved(move), move["result"]["why_not"] or "")
        for move in _cheapest(refused, _REFUSED) + _cheapest(possible, _CLOSEST)
    ]
    lines = ["closest alternatives", *_table(rows)] if rows else []
    if stuck:
        lines.append(f"{'' if not lines else '  '}{stuck} more cannot run on the other side")
    return lines


def _cheapest(moves: Iterable[Document], count: int) -> list[Document]:
    return sorted(moves, key=lambda move: float(move["result"]["change"]))[:count]


def _baselines(found: Document) -> list[str]:
    rows = []
    for name, baseline in found["baselines"].items():
        cost = ratio = ""
        if baseline["objective"] is not None:
            cost = quantity(baseline["objective"], _UNITS[found["objective"]])
            ratio = f"{baseline['ratio']:.3f}x" if baseline["ratio"] is not None else ""
        rows.append((name, cost, ratio, baseline["why_not"] or ""))
    return ["baselines", *_table(rows)]


def _changes(found: Document) -> list[str]:
    if found["changes"] is None:
        return _samples(found)
    lines = ["the best plan as one condition varies"]
    for condition, regions in found["changes"].items():
        name, unit = _CONDITIONS[condition]
        span = f"{quantity(regions[0]['least'], unit)} to {quantity(regions[-1]['most'], unit)}"
        lines.append(f"  {name}, {span}")
        here = next(i for i, region in enumerate(regions) if region["present"])
        first, last = max(0, here - _AROUND), min(len(regions), here + _AROUND + 1)
        rows = [
            (_where(region, unit, i == 0, i + 1 == len(regions)), _region_says(region))
            for i, region in enumerate(regions)
        ][first:last]
        lines += [f"  {line}" for line in _table(rows)]
        if len(rows) < len(regions):
            lines.append(f"    {len(regions) - len(rows)} more regions, farther away")
    return lines


def _samples(found: Document) -> list[str]:
    """Where limits, blocks or a bottleneck leave nothing to table."""
    rows = []
    for condition, samples in found["samples"].items():
        name, unit = _CONDITIONS[condition]
        for index, sample in enumerate(samples):
            cost = sample["objective"]
            doubt = "" if sample["proved"] else " (not proved)"
            rows.append((
                "" if index else name,
                quantity(sample["value"], unit),
                "" if cost is None else quantity(cost, _UNITS[found["objective"]]),
                sample["why_not"] or _plan_says(sample) + doubt,
            ))  # fmt: skip
    return ["the best plan at half and at twice each condition", *_table(rows)]


def _where(region: Document, unit: str, first: bool, last: bool) -> str:
    if first and last:
        return "everywhere"
    if first:
        return f"below {quantity(region['most'], unit)}"
    if last:
        return f"above {quantity(region['least'], unit)}"
    return f"{quantity(region['least'], unit)} to {quantity(region['most'], unit)}"


def _region_says(region: Document) -> str:
    now = region["present"] and not region["this_plan"]
    return _plan_says(region) + (" (now)" if now else "")


def _plan_says(plan: Document) -> str:
    if plan["this_plan"]:
        return "this plan"
    codecs = [f"{name} by {codec}" for name, codec in plan["codecs"].items() if codec != "none"]
    return ", ".join([_stages(plan["placement"]), *codecs])


def _stages(placement: Mapping[str, str]) -> str:
    """A placement in a line: each run of operators, or how many there are."""
    runs = [
        (side, [name for name, _ in run])
        for side, run in itertools.groupby(placement.items(), key=lambda item: item[1])
    ]
    if len(runs) == 1:
        return f"all on the {runs[0][0]}"
    if len(runs) > _RUNS:
        sides = list(placement.values())
        mobile, cloud = sides.count("mobile"), sides.count("cloud")
        return f"{mobile} on the mobile, {cloud} on the cloud, in {len(runs)} runs"
    return "; ".join(f"{side}: {_names(names)}" for side, names in runs)


def _names(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{names[0]} .. {names[-1]} ({len(names)})"


def _moved(move: Document) -> str:
    return f"{_names(move['moved'])} on the {move['to']}"


def _objective(found: Document, value: float) -> str:
    return f"{_SAYS[found['objective']]} {quantity(value, _UNITS[found['objective']])}"


def _change(found: Document, value: float) -> str:
    sign = "-" if value < 0 else "+"
    return f"{sign} {quantity(abs(value), _UNITS[found['objective']])}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
