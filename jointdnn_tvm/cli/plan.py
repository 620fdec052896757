"""`jointdnn plan`: which side each operator of a network, or of a problem file, should run on."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jointdnn_tvm.cli import arguments
from jointdnn_tvm.cli.console import progress
from jointdnn_tvm.errors import JointdnnError, ProblemError

HELP = "find the best placement of a network, or of a problem file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    arguments.add_model(parser, optional=True)
    parser.add_argument(
        "--problem",
        metavar="FILE",
        help="instead of MODEL: a problem as .json, or as .jsonl with one a line "
        "(answers are then one a line)",
    )
    arguments.add_targets(parser)
    arguments.add_planning(parser)


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Plan the network, or solve the file: for a .jsonl file a printed line for each problem."""
    if (args.model is None) == (args.problem is None):
        raise ProblemError("give either a MODEL or --problem FILE")
    if args.model is not None:
        return _plan_network(args)
    path = Path(args.problem)
    text = _read(path)
    if path.suffix != ".jsonl":
        return _solve_text(str(path), text)
    failed = 0
    for number, answer in _solve_lines(text):
        if answer["status"] == "error":
            failed += 1
        print(json.dumps(answer) if args.json else f"{number}: {_summary(answer)}", flush=True)
    if failed:
        print(f"{path}: {failed} line(s) could not be solved", file=sys.stderr)
    return None


def _plan_network(args: argparse.Namespace) -> dict[str, Any]:
    from jointdnn_tvm import api
    from jointdnn_tvm.planning import check_placement_choice
    from jointdnn_tvm.targets import load_link

    link = load_link(args.link)
    check_placement_choice(args.placement)
    network = api.load_network(args.model, arguments.shapes(args))
    with progress() as report:
        costs = api.measure(
            network,
            mobile=args.mobile,
            cloud=args.cloud,
            devices=arguments.devices(args),
            database=args.costs,
            progress=report,
        )
    plan = api.plan(network, costs, link=link, objective=args.objective, placement=args.placement)
    return plan.to_json()


def plan_text(plan: dict[str, Any]) -> str:
    """A network's plan beside its baselines, for people."""
    sides = list(plan["placement"].values())
    lines = [
        f"{sides.count('mobile')} groups on the mobile, {sides.count('cloud')} on the cloud "
        f"({plan['status']}, {plan['solver']})",
        f"  {'predicted':14}{'latency':>12}{'mobile energy':>16}",
    ]
    for name, row in {**plan["baselines"], "this plan": plan}.items():
        lines.append(f"  {name:14}{row['latency_s'] * 1e3:9.2f} ms{row['energy_j'] * 1e3:13.2f} mJ")
    new = plan["newly_measured"]
    lines.append(f"  newly measured: {new}" + ("" if new else " (all costs were known)"))
    lines += [f"  {what}: {source}" for what, source in plan["sources"].items()]
    return "\n".join(lines)


def render(answer: dict[str, Any]) -> str:
    """The answer for people."""
    if answer["status"] == "infeasible":
        return _summary(answer)
    lines = [
        plan_text(answer) if "baselines" in answer else _summary(answer),
        f"latency {answer['latency_s']:.6g} s, energy {answer['energy_j']:.6g} J, "
        f"cloud {answer['cloud_s']:.6g} s, mobile memory {answer['mobile_bytes']:.6g} bytes, "
        f"{answer['switches']} switches",
    ]
    width = max(map(len, answer["placement"]))
    lines += [f"  {name:<{width}}  {side}" for name, side in answer["placement"].items()]
    if answer["codecs"]:
        lines.append(f"crossing the link: {', '.join(answer['codecs'])}")
    return "\n".join(lines)


def _summary(answer: dict[str, Any]) -> str:
    if answer["status"] == "error":
        return f"error: {answer['error']}"
    if answer["status"] == "infeasible":
        return f"infeasible: {answer['reason']}"
    milliseconds = answer["solve_s"] * 1e3
    return (
        f"{answer['status']}: objective {answer['objective']:.9g}, bound {answer['bound']:.9g} "
        f"({answer['solver']}, {milliseconds:.2f} ms)"
    )


def _solve_lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The answer to each line that is not blank, with its number; a bad line is an error."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, _solve_text(f"line {number}", line)
        except JointdnnError as error:
            yield number, {"status": "error", "error": str(error)}


def _solve_text(where: str, text: str) -> dict[str, Any]:
    from jointdnn_tvm.placement import InfeasibleError, Problem, solve

    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProblemError(f"{where} is not JSON: {error.msg} at character {error.pos}") from None
    except (ValueError, RecursionError):  # a number or a nesting without end
        raise ProblemError(
            f"{where} is not JSON that can be read: it is too deep or too long"
        ) from None
    try:
        return solve(Problem.from_json(document)).to_json()
    except InfeasibleError as error:
        return error.to_json()
    except ProblemError as error:
        raise ProblemError(f"{where}: {error}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ProblemError(f"cannot read problem {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProblemError(f"problem {str(path)!r} is not UTF-8 text") from None
