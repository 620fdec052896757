"""Messages from and to a device in parts, so that a long one takes little memory beside itself.

While TVM's RPC sends an argument it has it twice more, or almost three times, and a result is there
four times while it arrives, once of that for the session's lifetime. What is longer than a part is
put, or fetched, by several calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import tvm_ffi

from jointdnn_tvm.errors import DeviceError, RunError
from jointdnn_tvm.runtime.remote import RemoteSession

PART_BYTES = 4 << 20
"""Long enough that a further round trip is short beside it, on any link of `targets/links`."""

MOST_BYTES = 1 << 32
"""Of an answer, which is allocated as long as the device says that it is."""

_LENGTH_BYTES = 8
_SHORTEST_BYTES = 4096  # of TVM's buffers
Piece = bytes | memoryview


class PartedCalls:
    """Calls a device's function from message to message; each remote call has the time limit."""

    def __init__(self, session: RemoteSession, name: str, timeout_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._call, self._put, self._get = (session.function(n) for n in _names(name))

    def __call__(self, message: Iterable[Piece], what: str) -> bytearray:
        """The answer to a message in pieces. DeviceError; `what` completes "while …"."""
        pieces = [memoryview(piece) for piece in message]
        last = max(-(-sum(map(len, pieces)) // PART_BYTES), 1) - 1
        parts = _split(pieces)
        for index in range(last):
            with self._session.deadline(self._timeout_s, what):
                self._put(index, next(parts))
        with self._session.deadline(self._timeout_s, what):
            first = memoryview(self._call(last, next(parts, b"")))
        size = int.from_bytes(first[:_LENGTH_BYTES], "little")
        self._check(len(first), _LENGTH_BYTES + min(size, PART_BYTES))
        if size > MOST_BYTES:
            raise DeviceError(
                f"{self._session} declared an answer of {size} bytes; that is nonsense"
            )
        first = first[_LENGTH_BYTES:]
        answer = bytearray(size)
        room = memoryview(answer)  # a bytearray would copy what it is given a part of
        room[: len(first)] = first
        del first
        for offset in range(PART_BYTES, size, PART_BYTES):
            with self._session.deadline(self._timeout_s, what):
                part = memoryview(self._get(offset))
            self._check(len(part), min(size - offset, PART_BYTES))
            room[offset : offset + len(part)] = part
            del part
        return answer

    def _check(self, found: int, wanted: int) -> None:
        if found != wanted:
            raise DeviceError(
                f"{self._session} answered nonsense: a part of {found} bytes instead of {wanted}"
            )


def call_bytes(up_bytes: int, down_bytes: int) -> int:
    """The most that a call's messages take of the caller at once, its answer included.

    The tensors that are sent are not in it, nor what stays for the session's lifetime.

    Args:
        up_bytes: of the message.
        down_bytes: of the answer.
    """
    last, first = _last_part(up_bytes), min(down_bytes, PART_BYTES)
    written, received = _write_buffer(last), _read_buffer_bytes(first)
    return max(
        # A part, its copy as an object of TVM's, and what the socket takes it from.
        (up_bytes > PART_BYTES) * (2 * PART_BYTES + _write_buffer(PART_BYTES).most_bytes),
        2 * last + written.most_bytes,
        # All that still, and the answer in the buffer of its socket, then as an object of TVM's,
        2 * last + written.size_bytes + received + first,
        # and that as one of Python's, which has it once more while it is made.
        last + written.size_bytes + 3 * first,
        # The whole answer beside the first part of it, or a later one.
        written.size_bytes + 2 * first + down_bytes,
        (down_bytes > PART_BYTES) * (3 * PART_BYTES + down_bytes),
    )


def left_bytes(up_bytes: int, down_bytes: int) -> int:
    """What is left of a call's messages until the next call: what the socket took the last from."""
    further_calls = down_bytes > PART_BYTES
    return 0 if further_calls else _write_buffer(_last_part(up_bytes)).size_bytes


def session_bytes(down_bytes: Iterable[int]) -> int:
    """What stays of the answers of calls, one after the other, for the session's lifetime.

    TVM keeps what it put a part into, and puts others there that are no longer.
    """
    total = longest = 0
    for each in down_bytes:
        first = min(each, PART_BYTES)
        total += first * (first > longest)
        longest = max(longest, first)
    return total


def _last_part(message_bytes: int) -> int:
    return message_bytes - max(-(-message_bytes // PART_BYTES) - 1, 0) * PART_BYTES


class _Buffer(NamedTuple):
    most_bytes: int
    """While it grew."""
    size_bytes: int


def _write_buffer(part_bytes: int) -> _Buffer:
    """What TVM writes a part into, byte by byte: a vector that is made longer by a fifth.

    In memory that is enough for it, or in twice as much of its own, into which it is copied.
    """
    most = size = room = _SHORTEST_BYTES
    while size < part_bytes:
        longer = _read_buffer_bytes(size + 1)
        if longer > room:
            room = 2 * size
            most = size + longer
        size = longer
    return _Buffer(max(most, size), size)


def _read_buffer_bytes(part_bytes: int) -> int:
    """What TVM reads a part into, whose length it knows."""
    return part_bytes * 6 // 5


def _split(pieces: Iterable[memoryview]) -> Iterator[bytes]:
    """The bytes of all pieces, one after the other, in parts that are as long as may be."""
    part: list[memoryview] = []
    room = PART_BYTES
    for piece in pieces:
        rest = piece
        while len(rest):
            part.append(rest[:room])
            rest = rest[room:]
            room -= len(part[-1])
            if not room:
                yield b"".join(part)
                part, room = [], PART_BYTES
    if part:
        yield b"".join(part)


class PartedFunction:
    """A device's end: a function from message to message, of which each comes in parts."""

    def __init__(self, function: Callable[[bytes], bytes]) -> None:
        self._function = function
        self._parts: list[bytes] = []
        self._answer = b""

    def put(self, index: int, part: bytes) -> None:
        """Keep a part until the last one comes; the one with index 0 begins a message."""
        if index == 0:
            self._parts = []
        if index != len(self._parts):
            raise RunError(f"part {index} of a message came after {len(self._parts)} parts")
        self._parts.append(part)

    def call(self, before: int, last: bytes) -> bytes:
        """Answer the message that ends so, after so many parts: 8 bytes of length, a part."""
        parts, self._parts = self._parts, []
        if before and before != len(parts):
            raise RunError(f"a message of {before + 1} parts came with {len(parts) + 1}")
        self._answer = self._function(b"".join([*parts[:before], last]))
        return len(self._answer).to_bytes(_LENGTH_BYTES, "little") + self.get(0)

    def get(self, offset: int) -> bytes:
        """The part of the answer that begins there."""
        return self._answer[offset : offset + PART_BYTES]

    def register(self, name: str) -> None:
        """Add it to the process's RPC functions."""
        call, put, get = _names(name)

        def answered(before: int, last: bytes) -> bytearray:
            return bytearray(self.call(before, bytes(last)))

        def kept(index: int, part: bytes) -> None:
            self.put(index, bytes(part))

        def got(offset: int) -> bytearray:
            return bytearray(self.get(offset))

        tvm_ffi.register_global_func(call, answered, override=True)
        tvm_ffi.register_global_func(put, kept, override=True)
        tvm_ffi.register_global_func(get, got, override=True)


def _names(name: str) -> tuple[str, str, str]:
    return name, f"{name}.put", f"{name}.get"
