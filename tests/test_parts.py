"""Messages in parts: the same bytes on the other side, and no more of them at once than told."""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from jointdnn_tvm.errors import DeviceError, RunError
from jointdnn_tvm.runtime import parts
from jointdnn_tvm.runtime.parts import (
    PartedCalls,
    PartedFunction,
    call_bytes,
    left_bytes,
    session_bytes,
)
from jointdnn_tvm.runtime.remote import RemoteSession

PART = 16
MIB = 1 << 20


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", PART)


class Device:
    """Stands for a session with a device that has one function."""

    def __init__(self, function: Callable[[bytes], bytes]) -> None:
        end = PartedFunction(function)
        self.end: dict[str, Callable[..., Any]] = {
            "f": end.call,
            "f.put": end.put,
            "f.get": end.get,
        }
        self.calls: list[str] = []
        self.longest = 0
        self.deadlines = 0

    def function(self, name: str) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            assert self.deadlines == len(self.calls) + 1
            self.calls.append(name)
            answer = self.end[name](*arguments)
            sizes = [len(a) for a in (*arguments, answer) if isinstance(a, bytes)]
            self.longest = max(self.longest, *sizes)
            return answer

        return called

    @contextmanager
    def deadline(self, seconds: float, what: str) -> Iterator[None]:
        assert (seconds, what) == (3.0, "asking")
        self.deadlines += 1
        yield

    def __str__(self) -> str:
        return "the device"


def opened(device: Device) -> PartedCalls:
    return PartedCalls(cast(RemoteSession, device), "f", 3.0)


@pytest.mark.parametrize("up", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 5 * PART + 3])
@pytest.mark.parametrize("down", [0, 1, PART, PART + 1, 3 * PART])
def test_both_ways(up: int, down: int) -> None:
    rng = np.random.default_rng([up, down])
    sent, answer = rng.bytes(up), rng.bytes(down)
    received = []

    def answering(message: bytes) -> bytes:
        received.append(message)
        return answer

    device = Device(answering)
    cut = up // 3
    assert opened(device)([sent[:cut], memoryview(sent)[cut:]], "asking") == answer
    assert received == [sent]
    rounds = max(-(-up // PART), 1) + max(-(-down // PART), 1) - 1
    assert len(device.calls) == rounds
    assert device.longest <= PART + 8


def test_parts_that_an_error_left_are_dropped() -> None:
    end = PartedFunction(bytes)
    end.put(0, b"left")
    assert end.call(0, b"whole")[8:] == b"whole"
    end.put(0, b"left")
    end.put(0, b"one ")
    assert end.call(1, b"two")[8:] == b"one two"


def test_part_that_is_missing() -> None:
    end = PartedFunction(bytes)
    with pytest.raises(RunError, match="part 1 of a message came after 0 parts"):
        end.put(1, b"second")
    with pytest.raises(RunError, match="a message of 3 parts came with 1"):
        end.call(2, b"last")


def test_answers_that_are_none() -> None:
    device = Device(bytes)
    for answer in (b"", b"\x05", (3).to_bytes(8, "little") + b"four"):
        device.end["f"] = lambda before, last, answer=answer: answer
        with pytest.raises(DeviceError, match="the device answered nonsense: a part of"):
            opened(device)([b"x"], "asking")
    device = Device(lambda _: bytes(2 * PART))
    device.end["f.get"] = lambda offset: b"short"
    with pytest.raises(DeviceError, match=f"a part of 5 bytes instead of {PART}"):
        opened(device)([b"x"], "asking")
    device.end["f"] = lambda before, last: (1 << 62).to_bytes(8, "little") + bytes(PART)
    with pytest.raises(DeviceError, match=f"declared an answer of {1 << 62} bytes"):
        opened(device)([b"x"], "asking")


def test_what_stays_of_answers() -> None:
    assert session_bytes([]) == 0
    assert session_bytes([3, 5, 4, 5]) == 3 + 5
    assert session_bytes([7, 100 * PART, 3, 5 * PART]) == 7 + PART


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others keep what is freed")
def test_a_call_takes_as_much_as_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a process that calls another one's function over TVM's RPC.

    On a busy machine a socket is at times emptied sooner than it is filled, and a call takes less:
    the most of two runs counts.
    """
    monkeypatch.setattr(parts, "PART_BYTES", MIB)
    draw = random.Random(0)
    calls = [(MIB // 2, 0), (0, MIB // 2), (MIB, MIB), (9 * MIB, 0), (0, 9 * MIB)]
    calls += [(draw.randrange(8 * MIB), draw.randrange(8 * MIB)) for _ in range(15)]
    taken = [list(map(max, *both)) for both in zip(_taken(calls), _taken(calls), strict=True)]
    downs = []
    for (up, down), (most, left) in zip(calls, taken, strict=True):
        downs.append(down)
        stays = session_bytes(downs)
        told = stays + call_bytes(up, down), stays + left_bytes(up, down)
        assert told == pytest.approx((most, left), rel=0.08, abs=MIB // 2), (up, down)


def _taken(calls: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What each call took at most, and what it left, in a process of their own."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("call_memory.py")), json.dumps(calls)],
        env={**os.environ, "TVM_USE_RUNTIME_LIB": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    taken: list[tuple[int, int]] = json.loads(done.stdout)
    return taken
