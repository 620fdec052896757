"""Which sensor a device has, found without being told."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from jointdnn_tvm.deploy.energy_counters import nvml, rapl
from jointdnn_tvm.deploy.power_sensors import android, jetson, jetson_of_jetpack_4, raspberry_pi_5
from jointdnn_tvm.deploy.sensor import Sensor
from jointdnn_tvm.errors import DeviceError

_WHOLE_DEVICE = (jetson, jetson_of_jetpack_4, raspberry_pi_5, android)


def find_sensor(device_kind: str, root: Path = Path("/")) -> Sensor | None:
    """The first sensor that works: of the whole device, else of what runs the kernels.

    `device_kind` is ``cpu`` or ``cuda``. DeviceError when there is one but none that can be used.
    """
    finders: list[Callable[[], Sensor | None]] = [partial(find, root) for find in _WHOLE_DEVICE]
    finders.append(nvml if device_kind == "cuda" else partial(rapl, root))
    problems: list[DeviceError] = []
    for find in finders:
        try:
            sensor = find()
        except DeviceError as error:
            problems.append(error)
        else:
            if sensor is not None:
                return sensor
    if problems:
        raise problems[0]
    return None
