"""Messages in parts: the same bytes on the other side, and no more of them at once than told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pytest

from jointdnn_tvm.errors import DeviceError, RunError
from jointdnn_tvm.runtime import parts
from jointdnn_tvm.runtime.parts import PartedCalls, PartedFunction, buffer_bytes, call_bytes
from jointdnn_tvm.runtime.remote import RemoteSession

PART = 16


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


def test_a_long_message_takes_no_more_than_its_answer_and_a_few_parts() -> None:
    assert call_bytes(100 * PART, 0) == 3 * PART
    assert call_bytes(0, 100 * PART) == 104 * PART
    assert call_bytes(3, 5) == 2 * 3 + 5 * 5
    assert buffer_bytes(100 * PART, 5) == PART + 5
