"""`jointdnn doctor`: what is wrong with a set-up, and what to do about it."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from jointdnn_tvm.cli.arguments import positive_seconds
from jointdnn_tvm.cli.console import progress

HELP = "check this machine and, with a tracker, its devices and the links to them"

_WORST_FIRST = ("failure", "warning", "ok")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's own arguments."""
    parser.add_argument(
        "--tracker", metavar="HOST:PORT", help="check this tracker and its devices too"
    )
    parser.add_argument(
        "--costs", metavar="FILE", type=Path, help="measurement database (default: the user's own)"
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=positive_seconds,
        default=5.0,
        help="seconds to wait for each answer (default: 5)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check everything; the command then ends with 1 when something failed."""
    from jointdnn_tvm.doctor.check_machine import check_this_machine
    from jointdnn_tvm.runtime.address import Address

    tracker = Address.parse(args.tracker) if args.tracker else None
    findings = list(check_this_machine(args.costs))
    if tracker is not None:
        from jointdnn_tvm.doctor.check_deployment import check_deployment

        with progress() as report:
            findings += check_deployment(tracker, args.timeout, report)
    found = {finding.status for finding in findings}
    return {
        "status": next(status for status in _WORST_FIRST if status in found),
        "checks": [finding.to_json() for finding in findings],
    }


def exit_code(result: dict[str, Any]) -> int:
    """1 when something failed."""
    return 1 if result["status"] == "failure" else 0


def render(result: dict[str, Any]) -> str:
    """A line a check, and how many are not well."""
    lines = [f"{c['status']:9}{c['about']}: {c['text']}" for c in result["checks"]]
    counts = Counter(c["status"] for c in result["checks"])
    if result["status"] == "ok":
        return "\n".join([*lines, "all is well"])
    return "\n".join([*lines, f"failures: {counts['failure']}, warnings: {counts['warning']}"])
