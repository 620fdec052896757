"""`jointdnn demo`: the main job on a trained network and a real picture, on this machine alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jointdnn_tvm.cli.console import progress

HELP = "measure, plan, build and run a trained network on this machine, phone and link emulated"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's own arguments."""
    parser.add_argument(
        "--slowdown",
        metavar="F",
        type=float,
        default=6.0,
        help="how much slower than this machine the emulated phone is (default: 6)",
    )
    parser.add_argument(
        "--link", metavar="LINK", default="huang2012-wifi", help="default: huang2012-wifi"
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, default=Path("demo-out"), help="default: demo-out"
    )
    parser.add_argument("--costs", metavar="FILE", type=Path, help="measurement database")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the demo."""
    from jointdnn_tvm.demo.flow import Setup, run_demo

    with progress() as report:
        return run_demo(Setup(args.slowdown, args.link, args.output, args.costs), report)


def render(result: dict[str, Any]) -> str:
    """Show the three plans side by side, and what was read."""
    lines = [
        f"{result['network']}: {result['groups']} operator groups; "
        f"measurements taken on the two devices: {result['newly_measured']}",
        f"EMULATED: {result['emulated']}",
        "",
        f"{'':12}{'groups on':>18}{'predicted':>12}{'measured':>12}{'predicted energy':>19}",
        f"{'plan':12}{'mobile / cloud':>18}{'latency, ms':>12}{'latency, ms':>12}"
        f"{'of the phone, mJ':>19}",
    ]
    for name, row in result["plans"].items():
        groups = f"{row['groups_on_mobile']} / {row['groups_on_cloud']}"
        lines.append(
            f"{name:12}{groups:>18}{row['predicted_latency_s'] * 1e3:12.1f}"
            f"{row['measured_latency_s'] * 1e3:12.1f}{row['predicted_energy_j'] * 1e3:19.1f}"
        )
    worst = max(result["max_rel_error"].values())
    lines += [
        "",
        f"largest difference from onnxruntime's answer: {worst:.1e} of its largest value",
        f"text read in {result['picture']}: {result['text']!r} "
        f"(onnxruntime reads {result['onnxruntime_text']!r})",
        f"bundles: {', '.join(result['bundles'].values())}",
    ]
    lines += [f"{what}: {source}" for what, source in result["sources"].items()]
    return "\n".join(lines)
