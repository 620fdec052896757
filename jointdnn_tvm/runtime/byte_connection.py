"""Plain bytes to a device server and back, over a TCP connection of their own.

What they take is what the link takes: nobody packs, copies or reads them.
"""

from __future__ import annotations

import os
import socket
import struct

from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.closing import Closing

BYTES_MAGIC = 0x4A44424C
SIZES = struct.Struct("<qq")
NOISE = os.urandom(1 << 16)
"""What is sent again and again: a link that compresses should find nothing to do."""

_BLOCK_BYTES = 1 << 18


class ByteConnection(Closing):
    """A connection to a device server that only takes and gives bytes.

    `deadline_s` bounds each step in which nothing moves, not a whole exchange. DeviceError when
    nobody listens, nobody answers in time, or what listens is another server.
    """

    def __init__(self, address: Address, deadline_s: float = 10.0) -> None:
        self._address = address
        try:
            self._socket = socket.create_connection((address.host, address.port), deadline_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(struct.pack("<ii", BYTES_MAGIC, 0))
        except OSError as error:
            raise self._failure(error) from error

    def exchange(self, up_bytes: int, down_bytes: int) -> None:
        """Send so many bytes; when all have arrived, so many come back, and are awaited."""
        try:
            self._socket.sendall(SIZES.pack(up_bytes, down_bytes))
            send_noise(self._socket, up_bytes)
            receive_away(self._socket, SIZES.size + down_bytes)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> DeviceError:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or error
        return DeviceError(
            f"the link to device {self._address} cannot be timed ({reason}); look at its log, and "
            f"whether it is a `jointdnn device` of this version"
        )

    def close(self) -> None:
        """Leave."""
        self._socket.close()


def send_noise(connection: socket.socket, size_bytes: int) -> None:
    """Send so many bytes that say nothing."""
    while size_bytes:
        part = NOISE[: min(size_bytes, len(NOISE))]
        connection.sendall(part)
        size_bytes -= len(part)


def receive_away(connection: socket.socket, size_bytes: int) -> None:
    """Receive so many bytes and forget them; ConnectionError when the peer leaves before."""
    buffer = memoryview(bytearray(min(size_bytes, _BLOCK_BYTES)))
    while size_bytes:
        received = connection.recv_into(buffer, min(size_bytes, len(buffer)))
        if not received:
            raise ConnectionError("it closed the connection")
        size_bytes -= received
