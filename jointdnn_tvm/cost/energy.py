"""Energy of a workload on a device that has a sensor, above what the idle device takes.

J a call = (E - P_idle t) / calls, over a window in which the workload runs again and again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

from jointdnn_tvm.cost.database import Energy
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession

_MIN_SAMPLES = 20
_ANSWER_S = 10.0


class RemoteMeter:
    """A device's own sensor, over one session; `find` looks for it.

    `idle_w` is measured once. Methods raise DeviceError when the sensor or the session fails.
    """

    def __init__(self, session: RemoteSession, name: str, window_s: float) -> None:
        self._session = session
        self.window_s = window_s
        self.source = f"measured:{name}"
        self.idle_w = self._measure_idle()

    @classmethod
    def find(cls, session: RemoteSession, device_kind: str) -> RemoteMeter | None:
        """The sensor for workloads on ``cpu`` or ``cuda``; None when the device has none.

        DeviceError says why one that is there cannot be used.
        """
        if not session.has_function("jointdnn.energy_sensor"):
            return None  # a stock TVM server
        found = _ask(session, "energy_sensor", device_kind)
        return cls(session, found["name"], found["window_s"]) if found else None

    def measure(self, run: Callable[[int], int], latency_s: float, deadline_s: float) -> Energy:
        """Energy of one call of a workload that takes `latency_s`.

        `run` calls it at least so many times and returns how many times it did.
        """
        number = math.ceil(self.window_s / latency_s)
        self._start()
        with self._session.deadline(deadline_s + self.window_s, "measuring energy"):
            until = time.monotonic() + self.window_s
            calls = run(number)
            while time.monotonic() < until:  # it is faster than it was when it was timed
                calls += run(number)
        energy_j, seconds, samples = self._stop()
        net_j = energy_j - self.idle_w * seconds
        if net_j <= 0:
            reason = (
                f"the device took {energy_j / seconds:.3g} W at work, not above its "
                f"{self.idle_w:.3g} W when idle"
            )
            return Energy(None, self.idle_w, seconds, samples, reason, self.source)
        return Energy(net_j / calls, self.idle_w, seconds, samples, None, self.source)

    def _measure_idle(self) -> float:
        self._start()
        time.sleep(self.window_s)
        energy_j, seconds, _ = self._stop()
        return energy_j / seconds

    def _start(self) -> None:
        _ask(self._session, "energy_start")

    def _stop(self) -> tuple[float, float, int]:
        reading = _ask(self._session, "energy_stop")
        energy_j, seconds, samples = reading["energy_j"], reading["seconds"], reading["samples"]
        if samples < _MIN_SAMPLES or seconds < self.window_s:
            raise DeviceError(
                f"the sensor gave {samples} values in {seconds:.3g} s; {_MIN_SAMPLES} in at least "
                f"{self.window_s:g} s are needed"
            )
        return energy_j, seconds, samples


def has_sensor(session: RemoteSession, device_kind: str) -> bool:
    """Whether the device has a sensor that gives its idle power; DeviceError: no session."""
    try:
        return RemoteMeter.find(session, device_kind) is not None
    except DeviceError:
        if not session.alive:
            raise
        return False


def _ask(session: RemoteSession, name: str, *arguments: str) -> dict[str, Any]:
    ask = session.function(f"jointdnn.{name}")
    with session.deadline(_ANSWER_S, "asking for its energy"):
        answer: dict[str, Any] = json.loads(ask(*arguments))
    if "why_not" in answer:
        raise DeviceError(answer["why_not"])
    return answer
