"""What keeps timings on a shared machine undisturbed, as far as the user may ask for it."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_WAKING_US = "/dev/cpu_dma_latency"


@contextmanager
def urgent(priority: int = 1) -> Iterator[None]:
    """What this thread starts meanwhile goes before all others, where the user may ask for that.

    On a shared machine others then take some of the caches, and half a core's arithmetic where two
    processors are one core, but no time. (Niceness would not do: it counts within a session.)
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def awake() -> Iterator[bool]:
    """Idle processors poll meanwhile and do not sleep; says whether that could be had.

    A phone that is emulated by stopping it lets its processor sleep over and over. On a virtual
    machine others then take it and its caches: the same stage took 10 to 38 % more of its time, for
    seconds on end.
    """
    try:
        file = os.open(_WAKING_US, os.O_WRONLY)
    except OSError:
        yield False
        return
    try:
        os.write(file, struct.pack("i", 0))  # for as long as it is open
        yield True
    finally:
        os.close(file)
