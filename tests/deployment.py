"""Real servers for tests, on free ports of loopback."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.runtime.address import Address

START_S = 60.0


@contextmanager
def running(
    *words: str, python: Path | None = None, **environment: str
) -> Iterator[tuple[ServerProcess, Address]]:
    """`jointdnn WORDS`, ready; `python` may be that of another machine."""
    arguments = ["-m", "jointdnn_tvm.cli", *words, "--until-stdin-closes"]
    with ServerProcess(words[0], arguments, environment, python) as server:
        yield server, server.wait_ready(START_S)


@contextmanager
def device_server(
    folder: Path, *words: str, python: Path | None = None
) -> Iterator[tuple[ServerProcess, Address]]:
    """A device server with all its files in that folder."""
    words = ("device", "--port", "0", "--cache", str(folder / "cache"), *words)
    with running(*words, python=python, TMPDIR=str(folder)) as server:
        yield server


def session_folders(folder: Path) -> list[Path]:
    """The working folders of the sessions of that device server."""
    return list(folder.glob("jointdnn-session-*"))


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def eventually(condition: object, within_s: float = 10.0) -> bool:
    """Wait until a function returns something true; False when it does not in time."""
    assert callable(condition)
    until = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def is_gone(pid: int) -> bool:
    """Whether a process has ended (and is at most a zombie of somebody else's)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def group_members(group: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            state, _, its_group = stat.rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                found.append(int(name))
    return found
