"""Ctrl-C ends the work wherever it is, and what it started; so do SIGTERM and a closed terminal."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TOGETHER_S = 1.0


class Interruption:
    """Which signal it was that last asked the process to end; SIGINT when there was none."""

    def __init__(self) -> None:
        self.signal = signal.SIGINT
        self._at = -math.inf

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt, once for signals that come together.

        A terminal, a shell and a wrapper may all pass the same Ctrl-C on, and the second would
        disturb the clean-up after the first.
        """
        now = time.monotonic()
        if now - self._at > _TOGETHER_S:
            self._at = now
            self.signal = signal.Signals(number)
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Raise KeyboardInterrupt when a signal asks the process to end.

    Only the main thread can handle signals; in others nothing changes.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    previous = {sig: signal.getsignal(sig) for sig in _SIGNALS}
    for sig, handler in previous.items():
        if handler in (signal.SIG_DFL, signal.default_int_handler):  # not under nohup
            signal.signal(sig, interruption.handle)
    try:
        yield interruption
    finally:
        for sig, handler in previous.items():
            signal.signal(sig, handler)


def let_interrupts_through() -> None:
    """Have TVM hand a KeyboardInterrupt on as what it is, from the Python code that it calls.

    As it comes, it makes a RuntimeError of it, which looks like a network that does not build.
    """
    import tvm_ffi

    tvm_ffi.register_error("KeyboardInterrupt", KeyboardInterrupt)
