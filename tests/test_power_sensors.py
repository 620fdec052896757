from collections.abc import Callable
from pathlib import Path

import pytest

from jointdnn_tvm.deploy.power_sensors import android, jetson, jetson_of_jetpack_4, raspberry_pi_5
from jointdnn_tvm.deploy.sensor import Sensor
from jointdnn_tvm.errors import DeviceError
from tests import fake_sensors

Finder = Callable[[Path], Sensor | None]


def found(finder: Finder, root: Path) -> Sensor:
    sensor = finder(root)
    assert sensor is not None
    assert sensor.unit == "W"
    return sensor


@pytest.mark.parametrize("finder", [jetson, jetson_of_jetpack_4, raspberry_pi_5, android])
def test_a_device_without_it(finder: Finder, tmp_path: Path) -> None:
    assert finder(tmp_path) is None


def test_jetson(tmp_path: Path) -> None:
    files = fake_sensors.jetson(tmp_path, millivolts=5008, milliamperes=1500)
    sensor = found(jetson, tmp_path)
    assert sensor.name == "ina3221 VDD_IN"
    assert sensor.read() == pytest.approx(7.512)
    fake_sensors.write(files, curr1_input=2000)
    assert sensor.read() == pytest.approx(10.016)


@pytest.mark.parametrize("total", ["VDD_IN", "VIN", "POM_5V_IN"])
def test_jetson_of_jetpack_4(tmp_path: Path, total: str) -> None:
    fake_sensors.jetson_of_jetpack_4(tmp_path, 4321, total)
    sensor = found(jetson_of_jetpack_4, tmp_path)
    assert sensor.name == f"ina3221x {total}"
    assert sensor.read() == pytest.approx(4.321)


def test_rails_that_are_not_the_whole(tmp_path: Path) -> None:
    files = fake_sensors.jetson(tmp_path)
    fake_sensors.write(files, in1_label="VDD_GPU_SOC")
    with pytest.raises(DeviceError, match=r"rails VDD_GPU_SOC, .* but none of VDD_IN, VIN"):
        jetson(tmp_path)


def test_raspberry_pi_5(tmp_path: Path) -> None:
    fake_sensors.raspberry_pi_5(tmp_path)
    sensor = found(raspberry_pi_5, tmp_path)
    assert sensor.name == "pmic_read_adc, fitted"
    assert sensor.read() == pytest.approx(fake_sensors.PMIC_W)


def test_another_raspberry_pi(tmp_path: Path) -> None:
    fake_sensors.raspberry_pi_5(tmp_path)
    fake_sensors.write(tmp_path / "proc/device-tree", model="Raspberry Pi 4 Model B Rev 1.4\0")
    assert raspberry_pi_5(tmp_path) is None


@pytest.mark.parametrize(("says", "code"), [("VCHI initialization failed\n", 255), ("\n", 0)])
def test_a_raspberry_pi_that_refuses(tmp_path: Path, says: str, code: int) -> None:
    fake_sensors.raspberry_pi_5(tmp_path, says, code)
    with pytest.raises(DeviceError, match=f"gave no power \\({says.strip()}\\); .*group video"):
        raspberry_pi_5(tmp_path)


def test_a_raspberry_pi_without_the_command(tmp_path: Path) -> None:
    fake_sensors.raspberry_pi_5(tmp_path).unlink()
    with pytest.raises(DeviceError, match="install the package raspi-utils"):
        raspberry_pi_5(tmp_path)


@pytest.mark.parametrize(
    ("current", "voltage"),
    [
        (-500_000, 4_000_000),
        (500_000, 4_000_000),
        (-500, 4_000_000),
        (500, 4000),
        (-500_000, 4000),
    ],
)
def test_a_battery_in_any_sign_and_unit(tmp_path: Path, current: int, voltage: int) -> None:
    files = fake_sensors.android(tmp_path, current, voltage)
    sensor = found(android, tmp_path)
    assert sensor.read() == pytest.approx(2.0)
    fake_sensors.write(files, current_now=-3 * current)
    assert sensor.read() == pytest.approx(6.0)


def test_a_unit_does_not_change_while_measuring(tmp_path: Path) -> None:
    files = fake_sensors.android(tmp_path, current=-400_000)
    sensor = found(android, tmp_path)
    fake_sensors.write(files, current_now=-9_000)
    assert sensor.read() == pytest.approx(0.036)


@pytest.mark.parametrize("current", [0, 300_000_000_000])
def test_a_battery_that_makes_no_sense(tmp_path: Path, current: int) -> None:
    fake_sensors.android(tmp_path, current)
    with pytest.raises(DeviceError, match="which no phone takes"):
        android(tmp_path)


def test_a_phone_on_its_charger(tmp_path: Path) -> None:
    files = fake_sensors.android(tmp_path)
    sensor = found(android, tmp_path)
    fake_sensors.write(files, status="Charging")
    with pytest.raises(DeviceError, match="unplug it"):
        sensor.read()


@pytest.mark.parametrize(
    ("fake", "finder", "file"),
    [
        (fake_sensors.jetson, jetson, "curr1_input"),
        (fake_sensors.jetson_of_jetpack_4, jetson_of_jetpack_4, "in_power0_input"),
        (fake_sensors.android, android, "current_now"),
    ],
)
def test_a_sensor_that_vanishes(
    tmp_path: Path, fake: Callable[[Path], Path], finder: Finder, file: str
) -> None:
    files = fake(tmp_path)
    sensor = found(finder, tmp_path)
    (files / file).unlink()
    with pytest.raises(DeviceError, match=f"{file} is gone"):
        sensor.read()
