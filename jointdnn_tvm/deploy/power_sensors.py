"""Sensors that tell a whole device's power: Jetson, Raspberry Pi 5, Android.

Each function looks for one kind below `root` (``/``, or a copy for a test) and tries it: None when
the device has none, DeviceError when it has one that cannot be used.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from jointdnn_tvm.deploy.sensor import Sensor, read_number, read_text
from jointdnn_tvm.errors import DeviceError

_JETSON_TOTALS = ("VDD_IN", "VIN", "POM_5V_IN")
_JETSON_PERIOD_S = 0.01
_PMIC_LINE = re.compile(r"(\w+)_([AV]) (?:current|volt)\(\d+\)=(-?[\d.]+)[AV]")
_PMIC_SLOPE, _PMIC_BASE_W = 1.1451, 0.5879  # fitted by users against a meter in the supply
_MOST_MILLIAMPERES = 10_000  # of a phone; a running one never takes so few microamperes
_MOST_MILLIVOLTS = 100_000
_MOST_PHONE_W = 100


def jetson(root: Path) -> Sensor | None:
    """JetPack 5 and later: the total rail VDD_IN of an ina3221, in mV and mA."""
    rails = {
        read_text(label): (label.with_name(f"in{n}_input"), label.with_name(f"curr{n}_input"))
        for label in sorted(root.glob("sys/bus/i2c/devices/*/hwmon/hwmon*/in*_label"))
        if (n := label.name[2:].partition("_")[0]).isdigit()
        and label.with_name(f"curr{n}_input").exists()
    }
    if not rails:
        return None
    name = _total_rail(rails)
    millivolts, milliamperes = rails[name]

    def read() -> float:
        return read_number(millivolts) * read_number(milliamperes) * 1e-6

    return _tried(Sensor(f"ina3221 {name}", "W", read, _JETSON_PERIOD_S, 1.0))


def jetson_of_jetpack_4(root: Path) -> Sensor | None:
    """JetPack 4 and the TX2: the total rail of an ina3221x, in mW."""
    names = sorted(root.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*"))
    rails = {
        read_text(name): name.with_name(f"in_power{name.name.rpartition('_')[2]}_input")
        for name in names
    }
    if not rails:
        return None
    name = _total_rail(rails)
    milliwatts = rails[name]

    def read() -> float:
        return read_number(milliwatts) * 1e-3

    return _tried(Sensor(f"ina3221x {name}", "W", read, _JETSON_PERIOD_S, 1.0))


def raspberry_pi_5(root: Path) -> Sensor | None:
    """The power chip's volts and amperes of 12 rails, brought to the supply's power by a fit."""
    board, command = root / "proc/device-tree/model", root / "usr/bin/vcgencmd"
    if not board.exists() or not read_text(board).startswith("Raspberry Pi 5"):
        return None
    if not command.exists():
        raise DeviceError(f"there is no {command}; install the package raspi-utils")
    # A process for each reading: more often, and it would be what is measured.
    sensor = Sensor("pmic_read_adc, fitted", "W", lambda: _read_pmic(command), 0.1, 3.0)
    return _tried(sensor)


def android(root: Path) -> Sensor | None:
    """The battery's current and voltage; their unit and sign are the maker's own."""
    battery = root / "sys/class/power_supply/battery"
    current, voltage, status = (battery / n for n in ("current_now", "voltage_now", "status"))
    if not current.exists():
        return None
    # The unit is settled once: the same device never changes it.
    ampere = 1e-3 if abs(read_number(current)) <= _MOST_MILLIAMPERES else 1e-6
    volt = 1e-3 if abs(read_number(voltage)) <= _MOST_MILLIVOLTS else 1e-6

    def read() -> float:
        if status.exists() and read_text(status) in ("Charging", "Full"):
            raise DeviceError("the phone is on its charger; unplug it and measure over the air")
        power_w = abs(read_number(current)) * ampere * read_number(voltage) * volt
        if not 0 < power_w < _MOST_PHONE_W:
            raise DeviceError(f"{current} gives {power_w:g} W, which no phone takes; do not use it")
        return power_w

    return _tried(Sensor("battery", "W", read, 1.0, 30.0))


def _total_rail(rails: Mapping[str, object]) -> str:
    for name in _JETSON_TOTALS:
        if name in rails:
            return name
    raise DeviceError(
        f"an ina3221 has the rails {', '.join(rails)} but none of {', '.join(_JETSON_TOTALS)}, "
        "which would be the whole board's; its power is modelled"
    )


def _read_pmic(command: Path) -> float:
    try:
        done = subprocess.run(
            [command, "pmic_read_adc"], capture_output=True, text=True, timeout=2.0, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"{command} cannot be run ({error}); check raspi-utils") from error
    rails: dict[str, dict[str, float]] = {}
    for rail, unit, value in _PMIC_LINE.findall(done.stdout):
        rails.setdefault(rail, {})[unit] = float(value)
    powers = [rail["A"] * rail["V"] for rail in rails.values() if rail.keys() == {"A", "V"}]
    if done.returncode != 0 or not powers:
        said = " ".join((done.stderr or done.stdout).split())[:100]
        raise DeviceError(f"{command} gave no power ({said}); its user must be of the group video")
    return _PMIC_SLOPE * sum(powers) + _PMIC_BASE_W


def _tried(sensor: Sensor) -> Sensor:
    sensor.read()
    return sensor
