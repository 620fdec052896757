"""What the C library does with large blocks of memory that are freed."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE_BYTES = 128 << 10  # what it is there until a block is freed


def return_large_blocks() -> None:
    """Have glibc return each large block of this process to the system once it is freed.

    By default it learns from a large one that is freed to take others from its heap, where gaps
    and an end of up to 64 MiB stay. Other C libraries know no such setting, and are left alone.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
