"""The `jointdnn` command, in this process, and what it said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.cli import main

_PROGRESS = re.compile(r"[a-z].*: \d+ of \d+")


@dataclass(frozen=True)
class Ended:
    """How the command ended, and all that it wrote, native libraries included."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line that an error is; only lines of progress may stand before it."""
        assert self.code == 1, self
        return self.last_line

    @property
    def last_line(self) -> str:
        assert self.out == "", self
        *before, last = self.err.splitlines()
        assert all(_PROGRESS.fullmatch(line) for line in before), self
        assert last.startswith("jointdnn: error: "), self
        assert "unexpected" not in last, self
        return last.removeprefix("jointdnn: error: ")


class Command:
    """Runs `jointdnn` WORDS."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: object) -> Ended:
        self._capture.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as ended:  # argparse's
            code = int(str(ended.code))
        said = self._capture.readouterr()
        return Ended(code, said.out, said.err)


def contents(folder: Path) -> dict[str, Any]:
    """All that a folder holds, hidden files too."""
    return {str(p): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def shape_words(shapes: dict[str, tuple[int, ...]]) -> Sequence[str]:
    """`--shape` for each input."""
    return [f"--shape={name}={','.join(map(str, shape))}" for name, shape in shapes.items()]
