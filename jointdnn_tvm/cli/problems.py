"""Problem files on the command line: one problem in a .json, one a line in a .jsonl."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jointdnn_tvm.errors import JointdnnError, ProblemError

if TYPE_CHECKING:
    from jointdnn_tvm.placement import Problem

Result = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, in place of a network."""
    parser.add_argument(
        "--problem",
        metavar="FILE",
        help="instead of MODEL: a problem as .json, or as .jsonl with one a line "
        "(answers are then one a line)",
    )


def answer_file(
    args: argparse.Namespace,
    answer: Callable[[Problem], Result],
    render: Callable[[Result], str],
) -> Result | None:
    """The result for the problem of ``args.problem``; those of a .jsonl are printed instead.

    Limits that clash are a result. A bad line of a .jsonl is a result with an ``error``; raises
    `ProblemError` for any other file that cannot be answered.
    """
    path = Path(args.problem)
    text = _read(path)
    if path.suffix != ".jsonl":
        return _answer_text(str(path), text, answer)
    failed = 0
    for number, result in _answer_lines(text, answer):
        failed += result["status"] == "error"
        print(json.dumps(result) if args.json else f"{number}: {render(result)}", flush=True)
    if failed:
        print(f"{path}: {failed} line(s) could not be solved", file=sys.stderr)
    return None


def refusal(result: Result) -> str | None:
    """Why a result holds no answer, in a line; None when it does."""
    if result["status"] == "error":
        return f"error: {result['error']}"
    if result["status"] == "infeasible":
        return f"infeasible: {result['reason']}"
    return None


def _answer_lines(text: str, answer: Callable[[Problem], Result]) -> Iterator[tuple[int, Result]]:
    """The result for each line that is not blank, with its number; a bad line is an error."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, _answer_text(f"line {number}", line, answer)
        except JointdnnError as error:
            yield number, {"status": "error", "error": str(error)}


def _answer_text(where: str, text: str, answer: Callable[[Problem], Result]) -> Result:
    from jointdnn_tvm.placement import InfeasibleError, Problem

    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProblemError(f"{where} is not JSON: {error.msg} at character {error.pos}") from None
    except (ValueError, RecursionError):  # a number or a nesting without end
        raise ProblemError(
            f"{where} is not JSON that can be read: it is too deep or too long"
        ) from None
    try:
        return answer(Problem.from_json(document))
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
