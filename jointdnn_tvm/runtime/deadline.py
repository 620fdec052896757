"""One thread of the process that acts when something takes too long.

TVM's remote calls have no timeouts: a call to a device that went silent blocks in C++ for ever.
What can be done from outside is to shut the call's socket down, and that is what the actions
given to `watch` do.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable

_AGAIN_S = 0.1


class Alarm:
    """An action that runs once its time has come, and again until it is cancelled."""

    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self._action: Callable[[], None] | None = action
        self._fired = False
        self._lock = threading.Lock()

    def cancel(self) -> bool:
        """The action does not run any more; returns whether it never ran."""
        _WATCHDOG.discard(self)
        with self._lock:
            self._action = None
            return not self._fired

    def fire(self) -> None:
        """Run the action, unless it was cancelled."""
        with self._lock:
            if self._action is not None:
                self._fired = True
                self._action()


class _Watchdog:
    """The thread and the alarms that it looks after; started by the first alarm."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._alarms: set[Alarm] = set()
        self._wakes_at = math.inf
        self._started = False

    def add(self, alarm: Alarm) -> None:
        with self._changed:
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, name="jointdnn-watchdog", daemon=True).start()
            self._alarms.add(alarm)
            if alarm.at < self._wakes_at:
                self._changed.notify()

    def discard(self, alarm: Alarm) -> None:
        with self._changed:
            self._alarms.discard(alarm)

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                late = [alarm for alarm in self._alarms if alarm.at <= now]
                if not late:
                    self._wakes_at = min((a.at for a in self._alarms), default=math.inf)
                    wait_s = None if math.isinf(self._wakes_at) else self._wakes_at - now
                    self._changed.wait(wait_s)
            for alarm in late:
                alarm.fire()
                alarm.at = time.monotonic() + _AGAIN_S


_WATCHDOG = _Watchdog()


def _forget() -> None:
    global _WATCHDOG
    _WATCHDOG = _Watchdog()


os.register_at_fork(after_in_child=_forget)  # the thread stays behind, with its lock


def watch(seconds: float, action: Callable[[], None]) -> Alarm:
    """Run `action` in another thread unless the alarm is cancelled within `seconds`.

    An action that has run is run again every 0.1 s until the alarm is cancelled: what it should
    break may not have been there the first time. It must not raise, nor take long.
    """
    alarm = Alarm(time.monotonic() + seconds, action)
    _WATCHDOG.add(alarm)
    return alarm
