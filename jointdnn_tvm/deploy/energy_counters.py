"""Sensors that count energy: a processor's RAPL, an NVIDIA GPU's NVML.

Each function looks for one kind and tries it: None when the device has none, DeviceError when it
has one that cannot be used.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from jointdnn_tvm.deploy.sensor import Sensor, read_number, read_text
from jointdnn_tvm.errors import DeviceError

_NVML = "libnvidia-ml.so.1"


class _Wrapping:
    """A counter in a file that begins again at 0 after `range_`, made to grow for ever."""

    def __init__(self, path: Path, range_: float) -> None:
        self._path = path
        self._range = range_
        self._last = read_number(path)
        self._sum = 0.0

    def read(self) -> float:
        now = read_number(self._path)
        self._sum += (now - self._last) % self._range
        self._last = now
        return self._sum


def rapl(root: Path) -> Sensor | None:
    """The energy of all processor packages, in uJ, below `root`; without memory and screen."""
    packages = [
        folder
        for folder in sorted(root.glob("sys/class/powercap/intel-rapl:*"))
        if (folder / "name").exists() and read_text(folder / "name").startswith("package")
    ]
    if not packages:
        return None
    counters = [
        _Wrapping(folder / "energy_uj", read_number(folder / "max_energy_range_uj"))
        for folder in packages
    ]

    def read() -> float:
        return sum(counter.read() for counter in counters) * 1e-6

    name = "rapl package" if len(packages) == 1 else f"rapl {len(packages)} packages"
    return Sensor(name, "J", read, 0.01, 1.0)


def nvml(library: Any = None) -> Sensor | None:
    """The energy of the first NVIDIA GPU since its driver was loaded, in mJ (Volta and later).

    `library` stands for the driver's own, which is called without a package in between.
    """
    if library is None:
        try:
            library = ctypes.CDLL(_NVML)
        except OSError:
            return None
        library.nvmlErrorString.restype = ctypes.c_char_p
    gpu = ctypes.c_void_p()
    _check(library, library.nvmlInit_v2())
    _check(library, library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(gpu)))

    def read() -> float:
        millijoules = ctypes.c_ulonglong()
        code = library.nvmlDeviceGetTotalEnergyConsumption(gpu, ctypes.byref(millijoules))
        _check(library, code)
        return millijoules.value * 1e-3

    read()
    return Sensor("nvml", "J", read, 0.02, 3.0)


def _check(library: Any, code: int) -> None:
    if code != 0:
        reason = library.nvmlErrorString(code).decode()
        raise DeviceError(f"the NVIDIA driver gives no energy ({reason}); its power is modelled")
