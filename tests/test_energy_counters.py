from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.deploy.energy_counters import nvml, rapl
from jointdnn_tvm.errors import DeviceError
from tests import fake_sensors

RANGE_UJ = 262_143_328_850


def test_a_processor_without_counters(tmp_path: Path) -> None:
    assert rapl(tmp_path) is None


def test_packages_alone_count(tmp_path: Path) -> None:
    first, second = fake_sensors.rapl(tmp_path, packages=2)
    sensor = rapl(tmp_path)
    assert sensor is not None
    assert (sensor.name, sensor.unit) == ("rapl 2 packages", "J")
    before = sensor.read()
    fake_sensors.write(first, energy_uj=3_000_000)
    fake_sensors.write(second, energy_uj=1_500_000)
    assert sensor.read() - before == pytest.approx(2.5)


def test_a_counter_that_wraps(tmp_path: Path) -> None:
    (package,) = fake_sensors.rapl(tmp_path, energy_uj=RANGE_UJ - 2_000_000)
    sensor = rapl(tmp_path)
    assert sensor is not None
    assert sensor.name == "rapl package"
    before = sensor.read()
    for wraps in (1, 2):
        fake_sensors.write(package, energy_uj=3_000_000)
        assert sensor.read() - before == pytest.approx(5 + (wraps - 1) * RANGE_UJ / 1e6)
        fake_sensors.write(package, energy_uj=RANGE_UJ - 2_000_000)
        sensor.read()


def test_a_counter_that_vanishes(tmp_path: Path) -> None:
    (package,) = fake_sensors.rapl(tmp_path)
    sensor = rapl(tmp_path)
    assert sensor is not None
    (package / "energy_uj").unlink()
    with pytest.raises(DeviceError, match="energy_uj is gone"):
        sensor.read()


class FakeNvml:
    """The driver's library: a GPU that has taken `millijoules`, and the code of each answer."""

    def __init__(self, millijoules: int = 0, code: int = 0) -> None:
        self.millijoules, self.code = millijoules, code

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, gpu: Any) -> int:
        assert index == 0
        gpu._obj.value = 0xBEEF
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: ctypes.c_void_p, energy: Any) -> int:
        assert gpu.value == 0xBEEF
        energy._obj.value = self.millijoules
        return self.code

    def nvmlErrorString(self, code: int) -> bytes:
        return {3: b"Not Supported", 15: b"GPU is lost"}[code]


def test_nvml() -> None:
    library = FakeNvml(5_000)
    sensor = nvml(library)
    assert sensor is not None
    assert (sensor.name, sensor.unit) == ("nvml", "J")
    assert sensor.read() == 5.0
    library.millijoules = 7_500
    assert sensor.read() == 7.5
    library.code = 15
    with pytest.raises(DeviceError, match=r"GPU is lost"):
        sensor.read()


def test_a_gpu_that_does_not_count() -> None:
    with pytest.raises(DeviceError, match=r"no energy \(Not Supported\); its power is modelled"):
        nvml(FakeNvml(code=3))


def test_a_machine_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jointdnn_tvm.deploy.energy_counters._NVML", "libno-such-driver.so.1")
    assert nvml() is None
