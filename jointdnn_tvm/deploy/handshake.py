"""The first bytes of a connection to a device server, read without blocking anybody else.

TVM's client sends a magic number and a key behind its length (`tvm/rpc/server.py`); a sender of
files sends another magic number and a JSON header in the same form, who wants to exchange plain
bytes a third one and no text.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress

from jointdnn_tvm.runtime.byte_connection import BYTES_MAGIC
from jointdnn_tvm.runtime.file_transfer import FILE_MAGIC

RPC_MAGIC = 0xFF271
KEY_MISMATCH = RPC_MAGIC + 2
_MAX_TEXT_BYTES = 4096
_PATIENCE_S = 10.0


class Handshake:
    """A connection whose purpose is not known yet."""

    def __init__(self, connection: socket.socket, peer: str) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.peer = peer
        self.magic = 0
        self.text = ""
        self.expires_at = time.monotonic() + _PATIENCE_S
        self._data = b""

    def advance(self) -> bool:
        """Read what came; returns whether `magic` and `text` are complete.

        ConnectionError when the peer left or speaks something else.
        """
        try:
            part = self.connection.recv(self._missing())
            # TVM's client sends bit by bit and waits for each to be acknowledged (Nagle).
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except BlockingIOError:
            return False
        if not part:
            raise ConnectionError("it left before it said what it wants")
        self._data += part
        if self._missing():
            return False
        self.text = self._data[8:].decode("utf-8", "replace")
        return True

    def _missing(self) -> int:
        if len(self._data) < 8:
            return 8 - len(self._data)
        size: int
        self.magic, size = struct.unpack("<ii", self._data[:8])
        ours = self.magic in (RPC_MAGIC, FILE_MAGIC, BYTES_MAGIC)
        if not ours or not 0 <= size <= _MAX_TEXT_BYTES:
            raise ConnectionError("it speaks neither TVM's RPC nor our file transfer")
        return 8 + size - len(self._data)

    @property
    def key(self) -> str:
        """The key of an RPC client: ``client:KEY [options]`` without the rest."""
        return self.text.split(" ")[0].removeprefix("client:")

    @property
    def timeout_s(self) -> float | None:
        """How long the session may last, when a client of TVM's gave a session timeout."""
        for word in self.text.split(" ")[1:]:
            if word.startswith("-timeout="):
                with suppress(ValueError):
                    return float(word.removeprefix("-timeout="))
        return None

    def left(self) -> bool:
        """Whether the peer has gone away meanwhile."""
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def accept(self, server_key: str) -> None:
        """Tell an RPC client that its session begins; the socket blocks from now on."""
        self.connection.setblocking(True)
        name = f"server:{server_key}".encode()
        self.connection.sendall(struct.pack("<ii", RPC_MAGIC, len(name)) + name)

    def refuse(self) -> None:
        """Tell an RPC client that its key does not fit, and hang up."""
        with suppress(OSError):
            self.connection.sendall(struct.pack("<i", KEY_MISMATCH))
        self.connection.close()
