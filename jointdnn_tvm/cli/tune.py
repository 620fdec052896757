"""`jointdnn tune`: better kernels than the rules' for a network, found on the user's devices."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jointdnn_tvm.cli import arguments
from jointdnn_tvm.cli.console import note, progress

if TYPE_CHECKING:
    from jointdnn_tvm.tuning.tuner import Progress

HELP = "search for faster kernels on the devices of a key; export and import what was found"

_PLAIN_EVERY_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's own arguments."""
    arguments.add_model(parser, optional=True)
    parser.add_argument(
        "--target", metavar="TARGET", default="host", help="what the devices are (default: host)"
    )
    parser.add_argument(
        "--tracker",
        metavar="HOST:PORT",
        help="tracker of the device servers (default: one of them on loopback, for this run)",
    )
    parser.add_argument(
        "--key", default="mobile", help="key of the devices at the tracker (default: mobile)"
    )
    parser.add_argument(
        "--minutes",
        metavar="N",
        type=arguments.amount,
        default=10.0,
        help="how long to search at most (default: 10)",
    )
    parser.add_argument(
        "--costs", metavar="FILE", type=Path, help="measurement database (default: the user's own)"
    )
    parser.add_argument(
        "--device-timeout",
        metavar="S",
        type=arguments.positive_seconds,
        default=30.0,
        help="seconds to wait for a device that is free (default: 30)",
    )
    parser.add_argument("--export", metavar="FILE", type=Path, help="write the records, and end")
    parser.add_argument(
        "--import",
        dest="import_",
        metavar="FILE",
        type=Path,
        help="add the records of another machine to one's own, and end",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Tune, or hand records out or in."""
    from jointdnn_tvm.errors import CostError
    from jointdnn_tvm.tuning.exchange import export_records, import_records

    if args.export:
        path, records = export_records(args.target, args.export)
        return {"path": str(path), "records": len(records)}
    if args.import_:
        path, records = import_records(args.target, args.import_)
        return {"path": str(path), "records": len(records)}
    if args.model is None:
        raise CostError("give the ONNX file of the network to tune, or --export or --import FILE")
    return _tune(args)


def _tune(args: argparse.Namespace) -> dict[str, Any]:
    from jointdnn_tvm.network import load_network
    from jointdnn_tvm.tuning.tune_network import tune

    network = load_network(args.model, arguments.shapes(args))
    with progress() as report, watched() as watch:
        tuning = tune(
            network,
            target=args.target,
            tracker=args.tracker,
            key=args.key,
            minutes=args.minutes,
            device_timeout_s=args.device_timeout,
            database=args.costs,
            progress=report,
            watch=watch,
        )
    return {
        "network": network.name,
        "path": str(tuning.path),
        "kernels": tuning.kernels,
        "searched_kernels": tuning.searched_kernels,
        "trials": tuning.trials,
        "known": tuning.known,
        "share": tuning.share,
        "records": {kernel: record.share for kernel, record in tuning.records.items()},
    }


def render(result: dict[str, Any]) -> str:
    """Say what was found, a line a kernel."""
    if "network" not in result:
        return f"{result['records']} records in {result['path']}"
    lines = [
        f"{100 * (1 - share):5.1f} % less time  {kernel}"
        for kernel, share in sorted(result["records"].items(), key=lambda item: item[1])
    ]
    return "\n".join(
        [
            *lines,
            f"{result['searched_kernels']} of {result['kernels']} kernels searched to the end, "
            f"{result['trials']} trials, {result['known']} known from before",
            f"the whole network takes {result['share']:.3f} of its time before; "
            f"{len(result['records'])} new records in {result['path']}",
        ]
    )


@contextmanager
def watched() -> Iterator[Callable[[Progress], None]]:
    """Show how the search goes: a bar on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _Plain()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=None, visible=False)

        def show(state: Progress) -> None:
            bars.update(
                *(task,), completed=state.done, total=state.kernels, description=_said(state)
            )
            bars.update(task, visible=True)

        yield show


class _Plain:
    def __init__(self) -> None:
        self._last = float("-inf")

    def __call__(self, state: Progress) -> None:
        now = time.monotonic()
        if now - self._last >= _PLAIN_EVERY_S:
            self._last = now
            note(f"tuning kernels, {_said(state)}: {state.done} of {state.kernels}")


def _said(state: Progress) -> str:
    gained = state.gained_s / state.network_s if state.network_s else 0.0
    left_s = round(state.left_s)
    return (
        f"{100 * gained:.1f} % gained so far, {state.trials} trials, "
        f"about {left_s // 60}:{left_s % 60:02} left"
    )
