"""Placement: how long solvers take, and whether what they find is the optimum.

    python benchmarks/placement.py [--network NAME] [--operators 100000] [--json FILE]

For the light networks' group graphs and for random DAGs: the product beside networkx (preflow-push
on the same integers: the oracle), HiGHS on the cut as a linear program, and OR-tools, where these
are installed. Solvers take turns in one process; times are medians, each from the problem to the
placement. Then the plan tables: over the uplink's rate alone, and with the downlink's, the round
trip and the cloud's load. Then limits, codecs with a budget of error, and throughput, each the
slowest over three links, and none worse than a baseline. No cost here was measured: networks have
their real graphs with a roofline's costs, DAGs have costs drawn at random from a seed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from known_networks import light_network_names
from placement_limits import KINDS, limited_problems
from placement_peers import ORACLE, OURS, SOLVERS, Solver
from placement_problems import network_problem, random_dag

from jointdnn_tvm.cli.console import note
from jointdnn_tvm.placement import InfeasibleError, Problem, all_baselines, evaluate, solve
from jointdnn_tvm.placement.min_cut import codecs_of
from jointdnn_tvm.placement.plan_table import PlanTable, Ranges, at_condition, plan_table

Row = dict[str, Any]
_SAME = 1e-9  # relative
_RATES, _RTT_S, _SLOWDOWN = (1e5, 1e9), (0.0, 0.1), (1.0, 10.0)
_LIMITED_RATES = (2e6, 2e7, 2e8)  # bit/s of the uplink
_RANGES = {
    "up": Ranges(_RATES, (2e7, 2e7), (0.02, 0.02)),
    "+down": Ranges(_RATES, _RATES, (0.02, 0.02)),
    "+rtt": Ranges(_RATES, _RATES, _RTT_S),
    "+load": Ranges(_RATES, _RATES, _RTT_S, _SLOWDOWN),
}


def time_cuts(problem: Problem, options: argparse.Namespace) -> Row:
    """The median of each solver, and whether its placement costs what the oracle's does.

    A solver takes no further turn once its own took `--most-seconds`.
    """
    taken: dict[str, list[float]] = {solver.name: [] for solver in _installed()}
    found: dict[str, float] = {}
    for _ in range(options.repeat):
        for solver in _installed():
            seconds = taken[solver.name]
            if sum(seconds) > options.most_seconds:
                continue
            fresh = replace(problem)  # nothing that an earlier turn found stays on it
            start = time.perf_counter()
            placement = solver.solve(fresh)
            seconds.append(time.perf_counter() - start)
            metrics = evaluate(problem, placement, codecs_of(problem, placement))
            found[solver.name] = metrics.objective(problem.objective)
    optimum = found[ORACLE.name]
    return {
        "median_s": {name: statistics.median(seconds) for name, seconds in taken.items()},
        "runs": {name: len(seconds) for name, seconds in taken.items()},
        "optimal": {name: math.isclose(o, optimum, rel_tol=_SAME) for name, o in found.items()},
    }


def _installed() -> list[Solver]:
    return [solver for solver in SOLVERS if solver.is_installed]


def cut_line(row: Row) -> str:
    """Milliseconds of each solver, a mark where it missed the optimum, and our lead."""
    medians, cells = row["median_s"], []
    for solver in SOLVERS:
        if solver.name not in medians:
            cells.append("not installed")
            continue
        mark = "" if row["optimal"][solver.name] else " not optimal"
        runs = "" if row["runs"][solver.name] > 2 else f" ({row['runs'][solver.name]} run)"
        cells.append(f"{1e3 * medians[solver.name]:.2f}{runs}{mark}")
    lead = medians[ORACLE.name] / medians[OURS.name]
    return _aligned(row["problem"], row["operators"], [*cells, f"{lead:.1f}x"])


def time_tables(problem: Problem, options: argparse.Namespace) -> Row:
    """The seconds of each table, its plans, a look-up, and how far its plans are off."""
    row: Row = {"table_s": {}, "plans": {}, "lookup_s": {}, "worst": {}}
    for name, ranges in _RANGES.items():
        seconds = []
        for _ in range(min(3, options.repeat)):
            start = time.perf_counter()
            table = plan_table(problem, ranges)
            seconds.append(time.perf_counter() - start)
        row["table_s"][name] = statistics.median(seconds)
        row["plans"][name] = len(table.plans)
        row["lookup_s"][name], row["worst"][name] = _check(problem, table, options.conditions)
    return row


def _check(problem: Problem, table: PlanTable, count: int) -> tuple[float, float]:
    """The median look-up under random conditions, and the most that it costs above a solve."""
    rng, seconds, worst = random.Random(0), [], 0.0
    for _ in range(count):
        up, down, rtt_s, slowdown = (
            least * (most / least) ** rng.random() if least else rng.uniform(least, most)
            for least, most in vars(table.ranges).values()
        )
        link = replace(problem.link, uplink_bps=up, downlink_bps=down, rtt_s=rtt_s)
        start = time.perf_counter()
        plan = table.look_up(link, slowdown)
        seconds.append(time.perf_counter() - start)
        there = at_condition(problem, link, slowdown)
        cost = evaluate(there, plan.placement, plan.codecs).objective(there.objective)
        worst = max(worst, cost / solve(there).objective - 1)
    return statistics.median(seconds), worst


def table_line(row: Row) -> str:
    """Seconds and plans of each table, then the slowest look-up and the worst plan."""
    cells = [f"{row['table_s'][name]:.3f} ({row['plans'][name]})" for name in _RANGES]
    lookup_s, worst = max(row["lookup_s"].values()), max(row["worst"].values())
    return _aligned(
        row["problem"], row["operators"], [*cells, f"{1e6 * lookup_s:.1f}", f"{worst:.0e}"]
    )


def time_limits(problem: Problem, options: argparse.Namespace) -> Row:
    """The slowest median of each kind of limit over links, and the answers that were not proved.

    Also those that a baseline within the same limits is better than.
    """
    row: Row = {"limit_s": {}, "unproved": [], "beaten": []}
    for rate in _LIMITED_RATES:
        link = replace(problem.link, uplink_bps=rate, downlink_bps=2 * rate)
        for name, limited in limited_problems(replace(problem, link=link)):
            seconds = []
            for _ in range(min(3, options.repeat)):
                start = time.perf_counter()
                try:
                    answer = solve(limited)
                except InfeasibleError:
                    answer = None
                seconds.append(time.perf_counter() - start)
            took = statistics.median(seconds)
            row["limit_s"][name] = max(took, row["limit_s"].get(name, 0.0))
            if answer and answer.status != "optimal":
                row["unproved"].append([name, rate])
            best = min((b.objective for b in all_baselines(limited).values()), default=math.inf)
            if best < (answer.objective * (1 - _SAME) if answer else math.inf):
                row["beaten"].append([name, rate])
    return row


def limits_line(row: Row) -> str:
    """The slowest of each kind, in milliseconds; a mark where some answer was not proved."""
    marks = {name: f" {kind}" for kind in ("unproved", "beaten") for name, _ in row[kind]}
    cells = [
        f"{1e3 * row['limit_s'][name]:.0f}{marks.get(name, '')}"
        if name in row["limit_s"]
        else "never binds"
        for name in KINDS
    ]
    return _aligned(row["problem"], row["operators"], cells)


@dataclass(frozen=True)
class Kind:
    """A kind of row: what takes it from a problem, and how it looks in the table."""

    name: str
    headings: Sequence[str]
    take: Callable[[Problem, argparse.Namespace], Row]
    line: Callable[[Row], str]


_CUTS = Kind("cut", [*(f"{s.name} ms" for s in SOLVERS), "lead"], time_cuts, cut_line)
_TABLES = Kind(
    "table", [*(f"{name} s (plans)" for name in _RANGES), "look-up us", "worst"],
    time_tables, table_line,
)  # fmt: skip
_LIMITS = Kind(
    "limits", [f"{name.removeprefix('max_')} ms" for name in KINDS], time_limits, limits_line
)
_KINDS = (_CUTS, _TABLES, _LIMITS)


def measure(name: str, problem: Problem, kind: Kind, options: argparse.Namespace) -> Row:
    """A row, noted as soon as it is there."""
    head = {"kind": kind.name, "problem": name, "operators": len(problem.operators)}
    row = head | kind.take(problem, options) | {"load": os.getloadavg()[0]}
    note(f"{kind.line(row)}   load {row['load']:.1f}")
    return row


def print_tables(rows: Sequence[Row]) -> None:
    """A table for each kind."""
    for kind in _KINDS:
        mine = [row for row in rows if row["kind"] == kind.name]
        if mine:
            print(_aligned("problem", "operators", kind.headings))
            for row in mine:
                print(kind.line(row))
    print(f"medians, on {os.cpu_count()} cores; costs: a roofline's (networks), random (DAGs)")


def is_right(row: Row) -> bool:
    """Whether every solver found the optimum, every plan looked up is one, and all is proved."""
    offs = row.get("worst", {}).values()
    return (
        not row.get("unproved")
        and all(row.get("optimal", {}).values())
        and all(off <= _SAME for off in offs)
    )


def _aligned(name: str, operators: object, cells: Sequence[str]) -> str:
    return f"{name:15}{operators!s:>9}" + "".join(f"{cell:>20}" for cell in cells)


def main() -> int:
    """Measures what is asked for and prints the tables; 1 when a placement was no optimum."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = light_network_names()
    parser.add_argument(
        "--network", action="append", choices=names, metavar="NAME", help="default: all"
    )
    parser.add_argument(
        "--operators", action="append", type=int, metavar="N",
        help="of a random DAG; default 1000 and 10000",
    )  # fmt: skip
    parser.add_argument("--only", choices=[kind.name for kind in _KINDS], help="one kind of row")
    parser.add_argument("--repeat", type=int, default=9, metavar="RUNS", help="default 9")
    parser.add_argument(
        "--most-seconds", type=float, default=20, metavar="S",
        help="a solver on a problem, after which it takes no further turn; default 20",
    )  # fmt: skip
    parser.add_argument(
        "--conditions", type=int, default=100, metavar="N",
        help="at which a table is compared with a fresh solve; default 100",
    )  # fmt: skip
    parser.add_argument("--models", type=Path, metavar="DIR", help="keep the ONNX files here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every row's numbers")
    options = parser.parse_args()
    asked = options.network or options.operators
    networks = options.network or ([] if asked else names)
    sizes = options.operators or ([] if asked else [1000, 10000])
    kinds = [kind for kind in _KINDS if options.only in (None, kind.name)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in networks:
            problem = network_problem(name, options.models or Path(folder))
            rows += [measure(name, problem, kind, options) for kind in kinds]
    if _CUTS in kinds:
        rows += [measure("random DAG", random_dag(size), _CUTS, options) for size in sizes]
    print_tables(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(map(is_right, rows)) else 1


if __name__ == "__main__":
    sys.exit(main())
