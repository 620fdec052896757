"""The programs of `device_server/`, built for tests where that can be done."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import arm_machine
from tests.deployment import DeviceServerKind

ROOT = Path(__file__).parent.parent
_BUILD_S = 280
# A session that a test kills should be seen to be killed. What is found lies in files.
_OPTIONS = {
    "ASAN_OPTIONS": "handle_segv=0:handle_sigbus=0:handle_abort=0:log_path={folder}/sanitizer",
    "UBSAN_OPTIONS": "print_stacktrace=1:log_path={folder}/sanitizer",
}


def native_device_server(sanitized: bool = False) -> DeviceServerKind:
    """The device server in C++; skips the test where there is no compiler or CMake."""
    program = native_program("jointdnn-device", sanitized)
    return DeviceServerKind((str(program),), _OPTIONS)


@functools.cache
def native_program(name: str, sanitized: bool = False) -> Path:
    """A program, built unless it is up to date; skips the test where it cannot be."""
    if missing := [tool for tool in ("cmake", "c++") if shutil.which(tool) is None]:
        pytest.skip(f"{missing[0]} is not installed, so device_server/ cannot be built")
    folder = ROOT / "build" / ("device_server-sanitized" if sanitized else "device_server")
    python, sanitize = f"-DPython3_EXECUTABLE={sys.executable}", "ON" if sanitized else "OFF"
    return _build(name, folder, python, f"-DSANITIZE={sanitize}")


@functools.cache
def arm_device_server() -> DeviceServerKind:
    """The device server in C++ for the emulated ARM machine, which runs what a board gets of it."""
    if (reason := arm_machine.why_no_compiler()) is not None:
        pytest.skip(reason)
    folder, board = arm_machine.ROOT / "device_server", arm_machine.ROOT / "board"
    toolchain = ROOT / "device_server" / "toolchains" / "aarch64-linux.cmake"
    settings = {"CMAKE_TOOLCHAIN_FILE": toolchain, **arm_machine.libraries()}
    _build("jointdnn-device", folder, *(f"-D{name}={value}" for name, value in settings.items()))
    _run("cmake", "--install", str(folder), "--prefix", str(board))
    return DeviceServerKind(arm_machine.program(board / "jointdnn-device"))


def _build(name: str, folder: Path, *settings: str) -> Path:
    _run("cmake", "-S", str(ROOT / "device_server"), "-B", str(folder), *settings)
    _run("cmake", "--build", str(folder), "-j2", "--target", name)
    return folder / name


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_S)
    if "No Zstandard" in done.stderr:
        pytest.skip("libzstd-dev is not installed, so device_server/ cannot be built")
    assert done.returncode == 0, done.stdout + done.stderr
