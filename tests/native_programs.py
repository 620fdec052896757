"""The programs of `device_server/`, built for tests where that can be done."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    configure = ["cmake", "-S", str(ROOT / "device_server"), "-B", str(folder)]
    configure += [f"-DPython3_EXECUTABLE={sys.executable}"]
    configure += [f"-DSANITIZE={'ON' if sanitized else 'OFF'}"]
    for command in (configure, ["cmake", "--build", str(folder), "-j2", "--target", name]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_S)
        if "No Zstandard" in done.stderr:
            pytest.skip("libzstd-dev is not installed, so device_server/ cannot be built")
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / name
