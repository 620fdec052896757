"""`jointdnn verify`: a bundle's answers against onnxruntime's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jointdnn_tvm.cli import arguments

HELP = "compare a bundle's answers with onnxruntime's on the unsplit model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's own arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path)
    parser.add_argument("model", metavar="MODEL", type=Path, help="the ONNX file it was made from")
    parser.add_argument("--samples", metavar="N", type=int, default=1, help="random inputs to try")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first sample (default: 0)")
    parser.add_argument(
        "--input",
        metavar="NAME=FILE.npy",
        action="append",
        default=[],
        help="an input (default: random, seeded)",
    )
    parser.add_argument("--tolerance", type=float, default=1e-4, help="default: 1e-4, relative")
    arguments.add_cloud(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run both on the same inputs; RunError when they differ by more than the tolerance."""
    from jointdnn_tvm.cli.tensors import read_inputs
    from jointdnn_tvm.errors import RunError
    from jointdnn_tvm.runtime.session import open_session
    from jointdnn_tvm.verify import Difference, Reference, compare

    if args.samples < 1:
        raise RunError(f"--samples {args.samples} is not 1 or more")
    cloud = args.cloud or ("local" if args.tracker is None else None)
    reference = Reference(args.model)
    worst = Difference(0.0, 0.0)
    with open_session(
        args.bundle, cloud=cloud, tracker=args.tracker, key=args.cloud_key, timeout_s=args.timeout
    ) as session:
        for sample in range(args.samples):
            inputs = read_inputs(session.signature(), args.input, args.seed + sample)
            worst = worst.worst(compare(session.run(inputs), reference.run(inputs)))
        stages = len(session.manifest.stages)
        if session.cloud_error:
            raise RunError(f"the cloud was lost while verifying: {session.cloud_error}")
    if not worst.max_rel_error <= args.tolerance:
        raise RunError(
            f"the bundle's answer differs from onnxruntime's by {worst.max_rel_error:.2e} of its "
            f"largest value ({worst.max_abs_error:.2e} absolute), over the tolerance "
            f"{args.tolerance:g}; build the bundle again from this model, or report it"
        )
    return {
        "max_abs_error": worst.max_abs_error,
        "max_rel_error": worst.max_rel_error,
        "stages": stages,
        "samples": args.samples,
    }


def render(result: dict[str, Any]) -> str:
    """Show the largest differences."""
    return (
        f"max_abs_error {result['max_abs_error']:.3e}, max_rel_error {result['max_rel_error']:.3e} "
        f"over {result['samples']} samples, {result['stages']} stages"
    )
