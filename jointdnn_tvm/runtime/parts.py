"""Messages from and to a device in parts, so that a long one takes little memory beside itself.

While TVM's RPC sends an argument it has it once more, and a buffer of its own that stays until the
next call; a result is there four times while it arrives, once of that in a buffer that stays as
long as the session. What is longer than a part is put, or fetched, by several calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import tvm_ffi

from jointdnn_tvm.errors import DeviceError, RunError
from jointdnn_tvm.runtime.remote import RemoteSession

PART_BYTES = 4 << 20
"""Long enough that a further round trip is short beside it, on any link of `targets/links`."""

_LENGTH_BYTES = 8
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
        first = first[_LENGTH_BYTES:]
        answer = bytearray(size)
        answer[: len(first)] = first
        del first
        for offset in range(PART_BYTES, size, PART_BYTES):
            with self._session.deadline(self._timeout_s, what):
                part = memoryview(self._get(offset))
            self._check(len(part), min(size - offset, PART_BYTES))
            answer[offset : offset + len(part)] = part
            del part
        return answer

    def _check(self, found: int, wanted: int) -> None:
        if found != wanted:
            raise DeviceError(
                f"{self._session} answered nonsense: a part of {found} bytes instead of {wanted}"
            )


def call_bytes(up_bytes: int, down_bytes: int) -> int:
    """The most that a call's messages take of the caller at once.

    The tensors that are sent are not in it, nor what those that arrive become afterwards.
    """
    sent, received = min(up_bytes, PART_BYTES), min(down_bytes, PART_BYTES)
    return max(3 * sent, 2 * sent * (up_bytes <= PART_BYTES) + 4 * received + down_bytes)


def buffer_bytes(up_bytes: int, longest_down_bytes: int) -> int:
    """What is left of a call until the next one, or while the session lasts, in buffers."""
    return min(up_bytes, PART_BYTES) + min(longest_down_bytes, PART_BYTES)


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
