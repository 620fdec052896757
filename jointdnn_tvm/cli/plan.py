"""`jointdnn plan`: which side each operator should run on."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jointdnn_tvm.errors import JointdnnError, ProblemError

HELP = "find the best placement of a problem file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "--problem",
        metavar="FILE",
        required=True,
        help="a problem as .json, or as .jsonl with one a line (answers are then one a line)",
    )


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Solve the file: one answer, or for a .jsonl file a printed line for each."""
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


def render(answer: dict[str, Any]) -> str:
    """The answer for people."""
    lines = [
        _summary(answer),
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
    from jointdnn_tvm.placement import Problem, solve

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
    except ProblemError as error:
        raise ProblemError(f"{where}: {error}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ProblemError(f"cannot read problem {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProblemError(f"problem {str(path)!r} is not UTF-8 text") from None
