"""What the README shows of placement is what happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.command import Command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_explanation(jointdnn: Command) -> None:
    command = "jointdnn explain --problem docs/example-problem.json`:"
    shown = README.split(command)[1].split("```")[1].strip().splitlines()
    ended = jointdnn("explain", "--problem", ROOT / "docs/example-problem.json")
    assert len(shown) > 10
    assert set(shown) <= set(ended.out.splitlines())


def test_placement_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [block for block in README.split("```python")[1:] if "plan_table" in block]
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(code.split("```")[0], names)
    assert names["plan"].placement == names["answer"].placement
    assert names["why"].answer is names["answer"]
    assert "dads" in names["others"]
