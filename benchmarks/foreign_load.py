"""How much of the machine others use while a benchmark runs.

Others are all processes but this one and those that it started.
"""

from __future__ import annotations

import time
from contextlib import suppress

import psutil


class ForeignLoad:
    """Cores that others kept busy, on average, since this was made or last asked."""

    def __init__(self) -> None:
        self._last = self._now()

    def cores(self) -> float:
        """The average since the last call; processes that ended meanwhile count as others."""
        before, self._last = self._last, self._now()
        (then, busy, ours), (now, busy_now, ours_now) = before, self._last
        mine = sum(seconds - ours.get(pid, 0.0) for pid, seconds in ours_now.items())
        return max(busy_now - busy - mine, 0.0) / max(now - then, 1e-3)

    def _now(self) -> tuple[float, float, dict[int, float]]:
        times = psutil.cpu_times()
        busy = times.user + times.nice + times.system
        me = psutil.Process()
        ours = {}
        for process in (me, *me.children(recursive=True)):
            with suppress(psutil.Error):
                used = process.cpu_times()
                ours[process.pid] = used.user + used.system
        return time.monotonic(), busy, ours
