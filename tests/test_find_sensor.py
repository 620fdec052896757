from collections.abc import Callable
from pathlib import Path

import pytest

from jointdnn_tvm.deploy import find_sensor as module
from jointdnn_tvm.deploy.find_sensor import find_sensor
from jointdnn_tvm.deploy.sensor import Sensor
from jointdnn_tvm.errors import DeviceError
from tests import fake_sensors


def test_a_device_without_any(tmp_path: Path) -> None:
    assert find_sensor("cpu", tmp_path) is None


@pytest.mark.parametrize(
    ("fake", "name"),
    [
        (fake_sensors.jetson, "ina3221 VDD_IN"),
        (fake_sensors.jetson_of_jetpack_4, "ina3221x VDD_IN"),
        (fake_sensors.raspberry_pi_5, "pmic_read_adc, fitted"),
        (fake_sensors.android, "battery"),
        (fake_sensors.rapl, "rapl package"),
    ],
)
def test_each_is_found(tmp_path: Path, fake: Callable[[Path], object], name: str) -> None:
    fake(tmp_path)
    sensor = find_sensor("cpu", tmp_path)
    assert sensor is not None
    assert sensor.name == name


def test_a_gpu_is_not_measured_by_its_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Sensor("nvml", "J", lambda: 0.0, 0.02, 3.0)
    monkeypatch.setattr(module, "nvml", lambda: gpu)
    fake_sensors.rapl(tmp_path)
    assert find_sensor("cuda", tmp_path) == gpu
    fake_sensors.jetson(tmp_path)  # the whole board, with its GPU
    sensor = find_sensor("cuda", tmp_path)
    assert sensor is not None
    assert sensor.name == "ina3221 VDD_IN"


def test_another_one_stands_in_for_one_that_cannot_be_used(tmp_path: Path) -> None:
    fake_sensors.android(tmp_path, current=0)
    with pytest.raises(DeviceError, match="which no phone takes"):
        find_sensor("cpu", tmp_path)
    fake_sensors.rapl(tmp_path)
    sensor = find_sensor("cpu", tmp_path)
    assert sensor is not None
    assert sensor.name == "rapl package"
