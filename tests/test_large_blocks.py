"""Large blocks that are freed leave the process, between others that stay."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Frees all but the last of some blocks, after one that was larger; prints what stays of them.
FREE = """
import ctypes
import sys
from pathlib import Path

from jointdnn_tvm.runtime.large_blocks import return_large_blocks

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def block(size):
    address = library.malloc(size)
    ctypes.memset(address, 1, size)
    return address

if sys.argv[1] == "returned":
    return_large_blocks()
library.free(block(16 << 20))
before = resident()
blocks = [block(1 << 20) for _ in range(16)]
for address in blocks[:-1]:
    library.free(address)
print((resident() - before) >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's")
def test_gaps_are_returned() -> None:
    def left_mib(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", FREE, how], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert left_mib("returned") <= 2
    assert left_mib("as it is") >= 10
