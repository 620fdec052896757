"""What a sensor is: a reading of power, or of energy that only grows, and how it is to be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jointdnn_tvm.errors import DeviceError


@dataclass(frozen=True)
class Sensor:
    """A device's own meter.

    `read` gives the power now (unit ``W``) or the energy since some moment (unit ``J``); it raises
    DeviceError when there is nothing to read any more. Values are new every `period_s`, so that
    `window_s` is the least over which they mean something.
    """

    name: str
    unit: Literal["W", "J"]
    read: Callable[[], float]
    period_s: float
    window_s: float


def read_text(path: Path) -> str:
    """What a file of the kernel's says, in one line; DeviceError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except PermissionError as error:
        raise DeviceError(
            f"{path} may not be read; run the device server as root, or allow its user to read it"
        ) from error
    except OSError as error:
        raise DeviceError(
            f"{path} is gone ({error.strerror}); check the sensor's driver"
        ) from error


def read_number(path: Path) -> float:
    """The number in a file of the kernel's; DeviceError when there is none."""
    text = read_text(path)
    try:
        return float(text)
    except ValueError:
        raise DeviceError(f"{path} says {text[:40]!r}, not a number; check its driver") from None
