"""Real servers for tests, on free ports of loopback."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.runtime.address import Address

START_S = 60.0


@contextmanager
def running(*words: str, **environment: str) -> Iterator[tuple[ServerProcess, Address]]:
    """`jointdnn WORDS`, ready."""
    arguments = ["-m", "jointdnn_tvm.cli", *words, "--until-stdin-closes"]
    with ServerProcess(words[0], arguments, environment) as server:
        yield server, server.wait_ready(START_S)


@dataclass(frozen=True)
class DeviceServerKind:
    """One of the programs that serve a device; they behave alike.

    In the values of its environment `{folder}` stands for the folder of a server's files.
    """

    words: tuple[str, ...] = (sys.executable, "-m", "jointdnn_tvm.cli", "device")
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_python(self) -> bool:
        return self.words[0] == sys.executable

    def process(self, folder: Path, *words: str) -> ServerProcess:
        """A server with all its files in that folder, which may not be ready yet."""
        program, *first = self.words
        words = (*first, "--port", "0", "--cache", str(folder / "cache"), *words)
        environment = {n: v.format(folder=folder) for n, v in self.environment.items()}
        environment["TMPDIR"] = str(folder)
        return ServerProcess("device", [*words, "--until-stdin-closes"], environment, program)

    @contextmanager
    def __call__(self, folder: Path, *words: str) -> Iterator[tuple[ServerProcess, Address]]:
        """Such a server, ready."""
        with self.process(folder, *words) as server:
            yield server, server.wait_ready(START_S)
        assert not list(folder.glob("sanitizer*"))


device_server = DeviceServerKind()


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
