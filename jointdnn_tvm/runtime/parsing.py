"""Values of a JSON document that must have a type: TypeError or ValueError where they have not."""

from __future__ import annotations

from typing import Any


def as_table(value: Any) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:40]!r} is no object")
    return value


def as_text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is no text")
    return value


def as_texts(values: Any) -> tuple[str, ...]:
    """A list of strings."""
    return tuple(as_text(value) for value in values)


def as_whole(value: Any) -> int:
    """A whole number of 0 or more."""
    if type(value) is not int or value < 0:
        raise TypeError(f"{str(value)[:40]!r} is not a whole number of 0 or more")
    return value


def as_count(value: Any) -> int:
    """A whole number of 1 or more."""
    if as_whole(value) < 1:
        raise ValueError("0 is not a whole number of 1 or more")
    return int(value)


def as_share(value: Any) -> float:
    """A number from 0 up to 1, which it is not."""
    if not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise TypeError(f"{str(value)[:40]!r} is no number from 0 to 1")
    return float(value)
