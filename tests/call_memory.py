"""What calls over TVM's RPC take of the process that makes them, parts being of a MiB.

    python tests/call_memory.py '[[1048576, 0]]'

For calls with so many bytes up and down it prints the most that it was resident over what it was
before all of them, and what it was after each.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from tvm import rpc
from tvm.rpc import _ffi_api, base

from jointdnn_tvm.runtime import parts
from jointdnn_tvm.runtime.large_blocks import return_large_blocks
from jointdnn_tvm.runtime.remote import RemoteSession

_LENGTH_BYTES = 8


class Session:
    """What a `RemoteSession` is to calls in parts."""

    def __init__(self, port: int) -> None:
        self._session = rpc.connect("127.0.0.1", port)

    def function(self, name: str) -> Callable[..., Any]:
        """A function of the other process."""
        function: Callable[..., Any] = self._session.get_function(name)
        return function

    @contextmanager
    def deadline(self, seconds: float, what: str) -> Iterator[None]:
        """The test has one."""
        yield


def _serve(listener: socket.socket) -> None:
    """Answer a message with as many bytes as it says."""
    connection, _ = listener.accept()
    _, length = struct.unpack("<ii", base.recvall(connection, 8))
    base.recvall(connection, length)
    key = b"server:"
    connection.sendall(struct.pack("<ii", base.RPC_CODE_SUCCESS, len(key)) + key)
    answering = parts.PartedFunction(lambda m: bytes(int.from_bytes(m[:_LENGTH_BYTES], "little")))
    answering.register("answer")
    _ffi_api.ServerLoop(connection.fileno())


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def main() -> None:
    """Prints a list of pairs."""
    parts.PART_BYTES = 1 << 20
    return_large_blocks()
    listener = socket.create_server(("127.0.0.1", 0))
    fork = multiprocessing.get_context("fork")
    fork.Process(target=_serve, args=(listener,), daemon=True).start()
    session = cast(RemoteSession, Session(listener.getsockname()[1]))
    call = parts.PartedCalls(session, "answer", 1)
    wanted = json.loads(sys.argv[1])
    contents = memoryview(bytearray(max(up for up, _ in wanted)))
    call([bytes(_LENGTH_BYTES)], "")
    before, found = _resident("VmRSS"), []
    for up, down in wanted:
        Path("/proc/self/clear_refs").write_text("5")  # the kernel then counts the most anew
        message = [down.to_bytes(_LENGTH_BYTES, "little"), contents[: max(0, up - _LENGTH_BYTES)]]
        call(message, "")
        found.append((_resident("VmHWM") - before, _resident("VmRSS") - before))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
