"""`jointdnn run`: run a bundle."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from jointdnn_tvm.cli import arguments

HELP = "run a bundle and time it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's own arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path)
    parser.add_argument(
        "--input",
        metavar="NAME=FILE.npy",
        action="append",
        default=[],
        help="an input (default: random, seeded)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of random inputs (default: 0)")
    parser.add_argument("--output", metavar="DIR", type=Path, help="write the outputs here as .npy")
    parser.add_argument("--repeat", metavar="N", type=int, default=1)
    arguments.add_cloud(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the bundle `--repeat` times and return latencies and outputs."""
    from jointdnn_tvm.cli.tensors import quantiles, read_inputs, write_outputs
    from jointdnn_tvm.errors import RunError
    from jointdnn_tvm.runtime.session import open_session

    if args.repeat < 1:
        raise RunError(f"--repeat {args.repeat} is not 1 or more")
    with open_session(
        args.bundle,
        cloud=args.cloud,
        tracker=args.tracker,
        key=args.cloud_key,
        timeout_s=args.timeout,
    ) as session:
        inputs = read_inputs(session.signature(), args.input, args.seed)
        seconds = []
        for _ in range(args.repeat):
            started = time.perf_counter()
            outputs = session.run(inputs)
            seconds.append(time.perf_counter() - started)
        lost = session.cloud_error
    result: dict[str, Any] = {
        "latency_s": quantiles(seconds),
        "runs": args.repeat,
        "outputs": {name: list(array.shape) for name, array in outputs.items()},
        "cloud_error": lost,
    }
    if args.output is not None:
        result["files"] = write_outputs(args.output, outputs)
    return result


def render(result: dict[str, Any]) -> str:
    """Show latencies and output shapes."""
    latency = ", ".join(f"{k} {v * 1e3:.2f} ms" for k, v in result["latency_s"].items())
    lines = [f"latency over {result['runs']} runs: {latency}"]
    files = result.get("files", {})
    for name, shape in result["outputs"].items():
        lines.append(f"{name}: {shape}" + (f" in {files[name]}" if name in files else ""))
    if result["cloud_error"]:
        lines.append(f"the cloud was lost, the phone finished alone: {result['cloud_error']}")
    return "\n".join(lines)
