"""Energy of a stretch of time on a device, by sampling its sensor in a thread.

TVM's calls let go of Python's lock while a kernel runs, so the thread keeps its rate meanwhile.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jointdnn_tvm.deploy.find_sensor import find_sensor
from jointdnn_tvm.deploy.sensor import Sensor
from jointdnn_tvm.errors import DeviceError


@dataclass(frozen=True)
class Reading:
    """What the whole device took in so many seconds; `samples` counts the new values seen."""

    energy_j: float
    seconds: float
    samples: int


class EnergyMeter:
    """Call `start`, then `stop`; one stretch at a time."""

    def __init__(self, sensor: Sensor) -> None:
        self.sensor = sensor
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; a stretch that was not stopped is dropped. DeviceError: nothing to read."""
        self._halt()
        self._over = threading.Event()
        self._error: DeviceError | None = None
        self._energy_j, self._samples = 0.0, 0
        self._value, self._at = self.sensor.read(), time.monotonic()
        self._begin = self._at
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> Reading:
        """End and add up; DeviceError when it was not started or the sensor failed meanwhile."""
        if self._thread is None:
            raise DeviceError("the energy meter was not started; call start first")
        self._halt()
        if self._error is not None:
            raise self._error
        self._take()
        return Reading(self._energy_j, self._at - self._begin, self._samples)

    def _halt(self) -> None:
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._thread = None

    def _sample(self) -> None:
        try:
            while not self._over.wait(self.sensor.period_s):
                self._take()
        except DeviceError as error:
            self._error = error

    def _take(self) -> None:
        value, at = self.sensor.read(), time.monotonic()
        if self.sensor.unit == "W":
            self._energy_j += (value + self._value) / 2 * (at - self._at)
            self._samples += 1
        else:
            self._energy_j += value - self._value
            self._samples += value != self._value
        self._value, self._at = value, at


def register(add: Callable[[str, Callable[..., Any]], None], root: Path = Path("/")) -> None:
    """Add the functions by which a client uses this device's sensor; `add` takes name, function.

    Each answers with a JSON object, in which `why_not` stands for a sensor that does not work.
    ``jointdnn.energy_sensor(kind)`` looks for one and answers ``{}`` when there is none;
    ``jointdnn.energy_start()`` begins a stretch; ``jointdnn.energy_stop()`` answers its `Reading`.
    """
    meters: list[EnergyMeter] = []

    def find(device_kind: str) -> dict[str, Any]:
        meters.clear()
        sensor = find_sensor(device_kind, root)
        if sensor is None:
            return {}
        meters.append(EnergyMeter(sensor))
        return {"name": sensor.name, "window_s": sensor.window_s}

    def start() -> dict[str, Any]:
        _only(meters).start()
        return {}

    add("jointdnn.energy_sensor", _answering(find))
    add("jointdnn.energy_start", _answering(start))
    add("jointdnn.energy_stop", _answering(lambda: asdict(_only(meters).stop())))


def _only(meters: list[EnergyMeter]) -> EnergyMeter:
    if not meters:
        raise DeviceError("no sensor was found; ask jointdnn.energy_sensor first")
    return meters[0]


def _answering(act: Callable[..., dict[str, Any]]) -> Callable[..., str]:
    def answer(*arguments: str) -> str:
        try:
            return json.dumps(act(*arguments))
        except DeviceError as error:
            return json.dumps({"why_not": str(error)})

    return answer
