from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.deploy.energy_meter import EnergyMeter, register
from jointdnn_tvm.deploy.find_sensor import find_sensor
from jointdnn_tvm.deploy.sensor import Sensor
from jointdnn_tvm.errors import DeviceError
from tests import fake_sensors


def metered(sensor: Sensor | None, seconds: float = 0.3) -> tuple[float, float, int]:
    assert sensor is not None
    meter = EnergyMeter(sensor)
    meter.start()
    time.sleep(seconds)
    reading = meter.stop()
    return reading.energy_j, reading.seconds, reading.samples


def test_five_watts_for_a_second(tmp_path: Path) -> None:
    fake_sensors.jetson(tmp_path, millivolts=5000, milliamperes=1000)
    energy_j, seconds, samples = metered(find_sensor("cpu", tmp_path), 1.0)
    assert energy_j == pytest.approx(5.0, rel=0.02)
    assert seconds == pytest.approx(1.0, rel=0.02)
    assert samples > 50


def test_power_that_grows() -> None:
    begin = time.monotonic()
    sensor = Sensor("ramp", "W", lambda: 10 * (time.monotonic() - begin), 0.05, 0.2)
    energy_j, seconds, _ = metered(sensor)
    assert energy_j == pytest.approx(10 * seconds**2 / 2, rel=0.02)


def test_a_counter_gives_differences_and_counts_changes() -> None:
    begin = time.monotonic()

    def counter() -> float:
        return 100 + 0.5 * ((time.monotonic() - begin) // 0.1)  # a new value ten times a second

    energy_j, seconds, samples = metered(Sensor("counter", "J", counter, 0.005, 0.2), 1.0)
    assert samples in (9, 10, 11)
    assert energy_j == pytest.approx(0.5 * samples)
    assert seconds == pytest.approx(1.0, rel=0.05)


def test_a_sensor_that_vanishes(tmp_path: Path) -> None:
    files = fake_sensors.jetson(tmp_path)
    sensor = find_sensor("cpu", tmp_path)
    assert sensor is not None
    meter = EnergyMeter(sensor)
    meter.start()
    (files / "curr1_input").unlink()
    time.sleep(0.1)
    fake_sensors.write(files, curr1_input=1000)  # even if it comes back
    with pytest.raises(DeviceError, match="curr1_input is gone"):
        meter.stop()
    meter.start()
    assert meter.stop().energy_j < 1


def test_stopped_without_a_start() -> None:
    with pytest.raises(DeviceError, match="call start first"):
        EnergyMeter(Sensor("none", "W", lambda: 1.0, 0.1, 1.0)).stop()


def functions(root: Path) -> Callable[..., dict[str, Any]]:
    added: dict[str, Callable[..., str]] = {}
    register(added.__setitem__, root)

    def call(name: str, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(added[f"jointdnn.energy_{name}"](*arguments))
        return answer

    return call


def test_the_functions_of_a_device(tmp_path: Path) -> None:
    call = functions(tmp_path)
    assert call("sensor", "cpu") == {}
    assert "no sensor was found" in call("start")["why_not"]
    files = fake_sensors.jetson(tmp_path)
    assert call("sensor", "cpu") == {"name": "ina3221 VDD_IN", "window_s": 1.0}
    assert call("start") == {}
    time.sleep(0.1)
    reading = call("stop")
    assert reading["energy_j"] == pytest.approx(5 * reading["seconds"], rel=0.02)
    (files / "in1_input").unlink()
    assert "in1_input is gone" in call("start")["why_not"]
