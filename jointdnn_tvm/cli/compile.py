"""`jointdnn compile`: ONNX file to bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jointdnn_tvm.cli import arguments
from jointdnn_tvm.cli.console import progress
from jointdnn_tvm.cli.plan import plan_text

HELP = "measure, place and compile a network into a bundle"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's own arguments."""
    arguments.add_model(parser)
    parser.add_argument("-o", "--output", metavar="BUNDLE", type=Path, required=True)
    arguments.add_targets(parser)
    arguments.add_planning(parser)
    parser.add_argument(
        "--dump-ir", metavar="DIR", type=Path, help="write the module between passes"
    )
    parser.add_argument(
        "--no-fallback",
        action="store_true",
        help="leave the cloud's stages out of the mobile module: smaller, but lost without a cloud",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Compile, save, and return what was made."""
    from jointdnn_tvm import api
    from jointdnn_tvm.bundle import check_output

    check_output(args.output)
    with progress() as report:
        bundle = api.compile(
            args.model,
            mobile=args.mobile,
            cloud=args.cloud,
            link=args.link,
            objective=args.objective,
            limits=arguments.limits(args),
            placement=args.placement,
            codecs=args.codecs,
            calibrate=args.calibrate,
            shapes=arguments.shapes(args),
            devices=arguments.devices(args),
            database=args.costs,
            dump_ir=args.dump_ir,
            fallback=not args.no_fallback,
            progress=report,
        )
    path = bundle.save(args.output)
    manifest = bundle.manifest
    return {
        "bundle": str(path),
        "stages": [{"name": s.name, "side": s.side} for s in manifest.stages],
        "plan": dict(manifest.plan),
    }


def render(result: dict[str, Any]) -> str:
    """Say where the bundle is and what its plan promises."""
    return f"{result['bundle']}: {len(result['stages'])} stages, {plan_text(result['plan'])}"
