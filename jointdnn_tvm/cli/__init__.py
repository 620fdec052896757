"""The `jointdnn` command: one module a verb, imported lazily so that `--help` stays quick.

A verb module has ``HELP`` (one line), ``add_arguments(parser)``, ``run(args)`` that returns a
JSON-able result or None, and ``render(result)`` that turns it into text for people; one whose
result may be bad news has ``exit_code(result)``. Only the result goes to stdout; progress, warnings
and errors go to stderr.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from jointdnn_tvm.errors import JointdnnError
from jointdnn_tvm.interrupts import interruptible

VERBS = (
    "demo",
    "compile",
    "measure",
    "tune",
    "plan",
    "explain",
    "run",
    "verify",
    "train",
    "targets",
    "doctor",
    "tracker",
    "device",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns 0 done, 1 failed, 2 usage, 128 and the signal's number interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    with interruptible() as interruption:
        try:
            args = _parser(words).parse_args(words)
            verb = _verb(args.verb)
            result = verb.run(args)
            _print_result(verb, args, result)
            return int(verb.exit_code(result)) if hasattr(verb, "exit_code") else 0
        except KeyboardInterrupt:
            pass  # until here it holds what was at work, and TVM warns when that goes
        except BrokenPipeError:  # the reader of our output went away (`| head`)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except Exception as error:
            if "--debug" in words:
                traceback.print_exc()
            return _fail(_explain(error), 1)
    gc.collect()
    return _fail("interrupted", 128 + interruption.signal)


def _explain(error: Exception) -> str:
    if isinstance(error, JointdnnError):
        return str(error)
    if isinstance(error, OSError):  # no room, no permission, too many open files
        place = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{place}; --debug shows where"
    if isinstance(error, MemoryError):
        return "out of memory; free some, or use a smaller network"
    reason = f"{type(error).__name__}: {error}"
    return f"unexpected {reason}; run again with --debug and report the traceback"


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jointdnn",
        description="Split a neural network between an ARM device and a GPU server, by cost.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in VERBS:
        module = _verb(name)
        sub = verbs.add_parser(name, help=module.HELP, description=module.HELP)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if hasattr(module, "render"):
            sub.add_argument("--json", action="store_true", help="print the result as JSON")
        if name in words:
            module.add_arguments(sub)
    return parser


def _verb(name: str) -> ModuleType:
    return importlib.import_module(f"jointdnn_tvm.cli.{name}")


def _print_result(verb: ModuleType, args: argparse.Namespace, result: Any) -> None:
    if result is None:
        return
    print(json.dumps(result) if args.json else verb.render(result), flush=True)


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"jointdnn: error: {line}", file=sys.stderr)
    return code
