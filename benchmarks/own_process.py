"""A script of this folder in a process of its own: TVM reads its number of threads once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class ScriptError(Exception):
    """The script failed; the text is the last line that it printed."""


def answer_of(
    script: str, arguments: Sequence[str], threads: int, timeout_s: float | None = None
) -> dict[str, Any]:
    """The JSON document that a script prints."""
    count = str(threads)
    try:
        result = subprocess.run(
            [sys.executable, str(Path(__file__).with_name(script)), *arguments],
            env={**os.environ, "TVM_NUM_THREADS": count, "OMP_NUM_THREADS": count},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise ScriptError(f"not done after {timeout_s:.0f} s") from error
    if result.returncode:
        lines = result.stderr.split("\n")
        told = [line.strip() for line in lines if line.strip()] or [f"exit {result.returncode}"]
        raise ScriptError(told[-1])
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer
