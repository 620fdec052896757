"""Who a device is: what a measurement on it belongs to."""

from __future__ import annotations

import os
import platform
import re
import socket
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class DeviceInfo:
    """The machine behind a device server, and how it is run."""

    hostname: str
    cpu: str
    machine: str
    cores: int
    memory_bytes: int
    accelerator: str | None
    target: str
    slowdown: float
    tvm: str

    def as_json(self) -> dict[str, Any]:
        """For `jointdnn.device_info`; `emulated` says that the speed is not the machine's own."""
        return {**asdict(self), "emulated": self.slowdown != 1.0 or _is_played(self.machine)}


def this_device(target: str, slowdown: float) -> DeviceInfo:
    """Describe this machine; `target` is the name of its profile."""
    return DeviceInfo(
        hostname=socket.gethostname(),
        cpu=_cpu_model(),
        machine=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        accelerator=_accelerator(),
        target=target,
        slowdown=slowdown,
        tvm=_version("apache-tvm"),
    )


def _cpu_model() -> str:
    """Of x86 the model name, of an ARM board the board's name."""
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text().strip("\0\n ")
    return _cpu_entry("model name", "Hardware") or platform.processor() or platform.machine()


def _cpu_entry(*names: str) -> str | None:
    """The first entry of /proc/cpuinfo that has one of the names."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return None


def _is_played(machine: str) -> bool:
    """Whether an x86 machine plays this one: qemu-user shows its host's /proc/cpuinfo."""
    return not re.fullmatch("x86_64|i[3-6]86", machine) and _cpu_entry("vendor_id") is not None


def _accelerator() -> str | None:
    """The GPU's name, from its driver's own files: asking CUDA would start it."""
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "Model":
                return value.strip()
    return None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
