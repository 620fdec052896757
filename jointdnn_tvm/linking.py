"""Object files to a shared library, with whichever of a target's linkers is on this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from jointdnn_tvm.errors import LinkError
from jointdnn_tvm.targets import TargetProfile

_VARIABLE = re.compile(r"\$\{?(\w+)")


def find_linker(profile: TargetProfile) -> Callable[..., None]:
    """The first of the target's linkers that is here, as TVM's `export_library` calls one.

    LinkError names what could be installed when there is none; the function returned raises one
    that says why linking failed.
    """
    command = linker_command(profile)

    def link(output: str, objects: Sequence[str], **_options: Any) -> None:
        result = subprocess.run(
            [*command, "-shared", "-o", output, *objects],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode or not os.path.exists(output):
            reason = " ".join(result.stderr.split())[:300] or f"exit {result.returncode}"
            raise LinkError(f"linking for target {profile.name} with {command[0]} failed: {reason}")

    link.output_format = "so"  # type: ignore[attr-defined]  # export_library asks for it
    return link


def linker_command(profile: TargetProfile) -> list[str]:
    """The words that call that linker; LinkError when there is none."""
    commands = [_command(text) for text in profile.linker]
    command = next((c for c in commands if c is not None), None)
    if command is None:
        raise LinkError(
            f"target {profile.name} needs the linker {' or '.join(profile.linker)}, "
            f"and this machine has none of them; install the package {profile.linker_package}"
            + "".join(f" or set {name}" for name in _unset_variables(profile.linker))
        )
    return command


def _command(text: str) -> list[str] | None:
    """The words of a command that can be run here; one of this Python's packages is a command."""
    words = shlex.split(os.path.expandvars(text))
    if words[:2] == ["python", "-m"] and len(words) > 2:
        return [sys.executable, *words[1:]] if importlib.util.find_spec(words[2]) else None
    return words if words and shutil.which(words[0]) else None


def _unset_variables(commands: Sequence[str]) -> list[str]:
    names = [name for command in commands for name in _VARIABLE.findall(command)]
    return [name for name in dict.fromkeys(names) if name not in os.environ]
