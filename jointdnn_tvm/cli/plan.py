"""`jointdnn plan`: which side each operator of a network, or of a problem file, should run on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from jointdnn_tvm.cli import arguments, problems
from jointdnn_tvm.cli.console import progress
from jointdnn_tvm.errors import ProblemError

if TYPE_CHECKING:
    from jointdnn_tvm.planning import Plan

HELP = "find the best placement of a network, or of a problem file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    arguments.add_model(parser, optional=True)
    problems.add_arguments(parser)
    arguments.add_targets(parser)
    arguments.add_planning(parser)


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Plan the network, or solve the file: for a .jsonl file a printed line for each problem."""
    from jointdnn_tvm.placement import InfeasibleError, solve

    if is_file(args):
        return problems.answer_file(args, lambda problem: solve(problem).to_json(), _summary)
    try:
        return plan_network(args).to_json()
    except InfeasibleError as error:
        return error.to_json()


def is_file(args: argparse.Namespace) -> bool:
    """Whether a problem file is to be answered, and not a network; ProblemError for both."""
    if (args.model is None) == (args.problem is None):
        raise ProblemError("give either a MODEL or --problem FILE")
    if args.problem is not None and arguments.limits(args).active:
        raise ProblemError("a problem file has its own limits: write them there")
    return args.problem is not None


def plan_network(args: argparse.Namespace) -> Plan:
    """Find the costs of the network and plan it; raises `InfeasibleError` when the limits clash."""
    from jointdnn_tvm import api
    from jointdnn_tvm.offering import check_codecs
    from jointdnn_tvm.planning import check_placement_choice
    from jointdnn_tvm.samples import read_samples

    check_placement_choice(args.placement)
    limits = arguments.limits(args)
    check_codecs(args.codecs, args.calibrate, limits.max_error)
    devices = arguments.devices(args)
    path = api.find_path(args.link, devices=devices, database=args.costs)
    network = api.load_network(args.model, arguments.shapes(args))
    samples = None if args.calibrate is None else read_samples(args.calibrate, network)
    with progress() as report:
        costs = api.find_costs(
            network,
            mobile=args.mobile,
            cloud=args.cloud,
            devices=devices,
            database=args.costs,
            progress=report,
        )
        offer = api.offer_codecs(
            network,
            costs,
            args.codecs,
            calibrate=samples,
            max_error=limits.max_error,
            progress=report,
        )
        return api.plan_by_stages(
            network,
            costs,
            path,
            objective=args.objective,
            limits=limits,
            placement=args.placement,
            codecs=offer,
            devices=devices,
            database=args.costs,
            progress=report,
        )


def plan_text(plan: dict[str, Any]) -> str:
    """A network's plan beside its baselines, for people."""
    sides = list(plan["placement"].values())
    lines = [
        f"{sides.count('mobile')} groups on the mobile, {sides.count('cloud')} on the cloud "
        f"({plan['status']}, {plan['solver']})",
        f"  {'predicted':14}{'latency':>12}{'mobile energy':>16}{'one query every':>18}",
    ]
    for name, row in {**plan["baselines"], "this plan": plan}.items():
        lines.append(
            f"  {name:14}{row['latency_s'] * 1e3:9.2f} ms{row['energy_j'] * 1e3:13.2f} mJ"
            f"{row['bottleneck_s'] * 1e3:15.2f} ms"
        )
    if plan["newly_measured"]:
        lines.append(f"  newly measured: {plan['newly_measured']}")
    elif any("measured:" in source for source in plan["sources"].values()):
        lines.append("  newly measured: 0 (all costs were known)")
    if agreement := plan.get("agreement"):
        lines.append(
            f"  error {agreement['error']:.2g} on {agreement['samples']} samples held out: largest "
            f"change {agreement['max_change']:.2g}, {agreement['same_decisions']:.1%} of decisions "
            f"alike ({agreement['decisive']} decisive, {agreement['answers']} different answers)"
        )
    lines += [f"  {what}: {source}" for what, source in plan["sources"].items()]
    return "\n".join(lines)


def render(answer: dict[str, Any]) -> str:
    """The answer for people."""
    if refusal := problems.refusal(answer):
        return refusal
    lines = [
        plan_text(answer) if "baselines" in answer else _summary(answer),
        f"latency {answer['latency_s']:.6g} s, energy {answer['energy_j']:.6g} J, "
        f"cloud {answer['cloud_s']:.6g} s, mobile memory {answer['mobile_bytes']:.6g} bytes, "
        f"{answer['switches']} switches",
    ]
    width = max(map(len, answer["placement"]))
    lines += [f"  {name:<{width}}  {side}" for name, side in answer["placement"].items()]
    if answer["codecs"]:
        crossing = [n if c == "none" else f"{n} by {c}" for n, c in answer["codecs"].items()]
        lines.append(f"crossing the link: {', '.join(crossing)}")
    return "\n".join(lines)


def _summary(answer: dict[str, Any]) -> str:
    if refusal := problems.refusal(answer):
        return refusal
    milliseconds = answer["solve_s"] * 1e3
    return (
        f"{answer['status']}: objective {answer['objective']:.9g}, bound {answer['bound']:.9g} "
        f"({answer['solver']}, {milliseconds:.2f} ms)"
    )
