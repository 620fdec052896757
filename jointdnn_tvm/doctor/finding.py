"""What one check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class Finding:
    """`text` says in one line what there is and, unless it is ``ok``, what to do.

    A failure stops something that a user would do on this set-up; a warning may. `facts` are the
    same as plain JSON types, by names that have their units.
    """

    about: str
    status: Status
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """One object."""
        return {"about": self.about, "status": self.status, "text": self.text, **self.facts}


def ok(about: str, text: str, **facts: Any) -> Finding:
    """All is well with it."""
    return Finding(about, "ok", text, facts)


def warning(about: str, text: object, **facts: Any) -> Finding:
    """Something that a user may want is not there."""
    return Finding(about, "warning", str(text), facts)


def failure(about: str, text: object, **facts: Any) -> Finding:
    """Something does not work."""
    return Finding(about, "failure", str(text), facts)
