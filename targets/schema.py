"""Reading a profile's TOML: every key is known, has its type, and is missing only if it may be."""

from __future__ import annotations

import difflib
import math
import sys
from pathlib import Path
from typing import Any

from jointdnn_tvm.errors import ProfileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent


class Fields:
    """The keys of one table of a profile, taken one by one; `done` refuses what is left."""

    def __init__(self, where: str, table: dict[str, Any]) -> None:
        self._where = where
        self._left = dict(table)
        self._known: list[str] = []

    def table(self, key: str, *, optional: bool = False) -> Fields:
        """A nested table, such as ``[power]``."""
        return Fields(f"{self._where}: [{key}]", self.mapping(key, optional=optional))

    def mapping(self, key: str, *, optional: bool = False) -> dict[str, Any]:
        """A nested table whose keys are not ours to check."""
        value = self._take(key, {} if optional else None)
        if not isinstance(value, dict):
            raise self._wrong(key, "a table", value)
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty, or the default."""
        value = self._take(key, default)
        if not isinstance(value, str) or not (value or default == ""):
            raise self._wrong(key, "a text", value)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty when absent."""
        value = self._take(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of texts", value)
        return tuple(value)

    def flag(self, key: str) -> bool:
        """True or false; false when absent."""
        value = self._take(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number, 0 or more."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._wrong(key, "a whole number of 0 or more", value)
        return value

    def number(self, key: str, default: float | None = None, *, positive: bool = False) -> float:
        """A finite number, 0 or more (above 0 when ``positive``)."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._wrong(key, "a number", value)
        if not 0 <= value < math.inf or (positive and value == 0):
            raise self._wrong(key, "above 0" if positive else "0 or more", value)
        return float(value)

    def done(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self._left:
            close = difflib.get_close_matches(key, self._known, 1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(self._known)}"
            raise ProfileError(f"{self._where}: unknown key {key!r}; {hint}")

    def _take(self, key: str, default: Any) -> Any:
        self._known.append(key)
        if key not in self._left and default is None:
            raise ProfileError(f"{self._where}: key {key!r} is missing; add it")
        return self._left.pop(key, default)

    def _wrong(self, key: str, wanted: str, value: object) -> ProfileError:
        return ProfileError(f"{self._where}: {key} must be {wanted}, not {str(value)[:40]!r}")


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; raises `ProfileError` with the file's name."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ProfileError(f"cannot read profile {str(path)!r}: {reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"profile {str(path)!r} is not TOML: {error}") from None


def profile_names(folder: Path) -> tuple[str, ...]:
    """The profiles that come with the package in a folder."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def find_profile(what: str, name_or_path: str, folder: Path) -> Path:
    """The file of a profile by its name, or the path itself; an unknown name lists the known."""
    names = profile_names(folder)
    if name_or_path in names:
        return folder / f"{name_or_path}.toml"
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        return Path(name_or_path)
    raise ProfileError(
        f"unknown {what} {name_or_path!r}: known are {', '.join(names)}; or give a .toml file"
    )
