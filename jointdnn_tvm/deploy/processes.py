"""Starting and ending processes so that none outlives its owner."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Child:
    """A forked child; `alive` becomes readable when it has ended."""

    pid: int
    alive: int

    def end(self) -> str:
        """Kill it if it still runs, collect it, and say how it ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # has no effect on one that ended
        os.close(self.alive)
        _, status = os.waitpid(self.pid, 0)
        if os.WIFSIGNALED(status):
            return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
        return f"exit code {os.WEXITSTATUS(status)}"


def fork(work: Callable[[], None]) -> Child:
    """Run `work` in a child of this single-threaded process; it dies with this process."""
    parent = os.getpid()
    alive, held = os.pipe()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(held)
        return Child(pid, alive)
    code = 1
    try:
        os.close(alive)
        _die_with(parent)
        _prefer_for_oom()
        work()
        code = 0
    except BaseException as error:
        reason = " ".join(str(error).split())[:500]
        print(f"jointdnn: {type(error).__name__}: {reason}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def close_all(sources: Iterable[Any], but: socket.socket | None = None) -> None:
    """Close sockets and file descriptors."""
    for source in sources:
        if isinstance(source, int):
            with suppress(OSError):
                os.close(source)
        elif source is not but:
            source.close()


def _die_with(parent: int) -> None:
    """The kernel kills this process when its parent is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it was gone before we asked
        os._exit(1)


def _prefer_for_oom() -> None:
    """When memory runs out, this process goes first, not the one that listens."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
