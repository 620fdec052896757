"""Slow a process down by a factor: it is stopped and continued in a steady rhythm.

An emulation of a slower processor, good for latencies well above the period. The rhythm is kept
by a process of its own, which is why this file also is a program (it imports only the standard
library so that it starts quickly). Nothing stays stopped: the keeper continues the target when
it ends, when its owner is gone (end of its standard input), and when the process that gives the
rhythm is killed.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import TracebackType

_MIN_PERIOD_S = 0.008
_MIN_RUN_S = 0.0015
_WAKING_S = 0.0001  # until a continued process works again; measured by the work that it did


def period_s(factor: float) -> float:
    """How long one round of the rhythm takes; a measurement must last several."""
    return max(_MIN_PERIOD_S, _MIN_RUN_S * factor)


class Throttle:
    """Context manager under which the process `pid` runs 1/`factor` of the time."""

    def __init__(self, pid: int, factor: float) -> None:
        if factor < 1:
            raise ValueError(f"a slowdown factor is at least 1, not {factor}")
        self.pid = pid
        self.factor = factor
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin; the target must be a process of the same user."""
        if self.factor == 1:
            return
        words = [str(self.pid), str(self.factor), str(period_s(self.factor))]
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._keeper.stdout is not None
        self._keeper.stdout.read(1)  # it runs now, or it is gone because the target is

    def stop(self) -> None:
        """End; the target runs freely."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        for pipe in (keeper.stdin, keeper.stdout):
            assert pipe is not None
            pipe.close()
        try:
            keeper.wait(2.0)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()

    def __enter__(self) -> Throttle:
        """Begin; the end of the block ends it."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()


def _keep(pid: int, factor: float, period: float) -> None:
    """Fork the process that gives the rhythm; continue the target when either has to end."""
    target = os.pidfd_open(pid)
    keeper = os.getpid()
    rhythm = os.fork()
    if rhythm == 0:
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)  # PR_SET_PDEATHSIG
        try:
            if os.getppid() == keeper:
                _beat(target, factor, period)
        finally:
            _continue(target)
            os._exit(0)
    try:
        rhythm_end = os.pidfd_open(rhythm)
        os.write(1, b"!")
        select.select([0, rhythm_end, target], [], [])
    finally:
        with suppress(ProcessLookupError):
            os.kill(rhythm, signal.SIGKILL)
        os.waitpid(rhythm, 0)
        _continue(target)


def _beat(target: int, factor: float, period: float) -> None:
    """Let the target run so that running time x factor = time passed, whatever the jitter."""
    run_s = period / factor
    start = continued_at = time.monotonic()
    ran_s = 0.0
    with suppress(ProcessLookupError):
        while True:
            time.sleep(run_s)
            signal.pidfd_send_signal(target, signal.SIGSTOP)
            now = time.monotonic()
            ran_s += max(now - continued_at - _WAKING_S, 0.0)
            time.sleep(max(start + ran_s * factor - now, 0.0))
            signal.pidfd_send_signal(target, signal.SIGCONT)
            continued_at = time.monotonic()


def _continue(target: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(target, signal.SIGCONT)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(ProcessLookupError, KeyboardInterrupt):
        _keep(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
