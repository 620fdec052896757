"""What can be read of the machine this runs on: cores, clock, vectors, caches, memory."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

_CPUINFO = Path("/proc/cpuinfo")
_CPU0 = Path("/sys/devices/system/cpu/cpu0")

_FALLBACK_HZ = 2.0e9  # nominal, where the system tells no clock
_FALLBACK_BYTES = 4 * 2**30
_FMA_UNITS = 2  # of most cores of the last ten years


def detect_host() -> dict[str, dict[str, Any]]:
    """The ``compute`` and ``memory`` tables of this machine; ``peak_flops`` is nominal."""
    cpuinfo = _read(_CPUINFO)
    cores = _usable_cores()
    clock_hz = _clock_hz(cpuinfo)
    vector_bits, vector_registers = _vectors(cpuinfo, platform.machine())
    caches = _caches(_CPU0 / "cache")
    return {
        "compute": {
            "cores": cores,
            "clock_hz": clock_hz,
            "vector_bits": vector_bits,
            "vector_registers": vector_registers,
            "peak_flops": cores * clock_hz * (vector_bits // 32) * 2 * _FMA_UNITS,
        },
        "memory": {"size_bytes": _memory_bytes(), **caches},
    }


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _clock_hz(cpuinfo: str) -> float:
    """The highest clock the kernel reports, else the one of this moment, else nominal."""
    highest_khz = _read(_CPU0 / "cpufreq" / "cpuinfo_max_freq").strip()
    if highest_khz.isdigit():
        return 1e3 * int(highest_khz)
    megahertz = re.search(r"^cpu MHz\s*:\s*([\d.]+)", cpuinfo, re.MULTILINE)
    return 1e6 * float(megahertz[1]) if megahertz else _FALLBACK_HZ


def _vectors(cpuinfo: str, machine: str) -> tuple[int, int]:
    """Bits and number of the vector registers."""
    flags_line = re.search(r"^(?:flags|Features)\s*:\s*(.*)", cpuinfo, re.MULTILINE)
    flags = set(flags_line[1].split()) if flags_line else set()
    if machine in ("aarch64", "arm64"):
        return 128, 32
    if "avx512f" in flags:
        return 512, 32
    if "avx2" in flags:
        return 256, 16
    return 128, 16


def _caches(folder: Path) -> dict[str, int]:
    """Bytes of the data caches that one core reaches."""
    found: dict[str, int] = {}
    for index in sorted(folder.glob("index*")):
        level, kind = _read(index / "level").strip(), _read(index / "type").strip()
        size = re.fullmatch(r"(\d+)K", _read(index / "size").strip())
        if size and kind in ("Data", "Unified") and level in ("1", "2", "3"):
            found["l1d_bytes" if level == "1" else f"l{level}_bytes"] = 1024 * int(size[1])
    return found


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return _FALLBACK_BYTES


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
