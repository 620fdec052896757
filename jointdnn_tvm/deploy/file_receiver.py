"""The device's side of `jointdnn_tvm.runtime.file_transfer`."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from jointdnn_tvm.deploy.file_cache import FileCache
from jointdnn_tvm.errors import DeviceError

_BLOCK_BYTES = 1 << 20
_SILENCE_S = 30.0


def receive(connection: socket.socket, header_text: str, cache: FileCache) -> None:
    """Take one file into the cache, unless it is there already."""
    connection.settimeout(_SILENCE_S)
    try:
        header = json.loads(header_text)
        sha256, size = str(header["sha256"]), int(header["size_bytes"])
        if cache.has(sha256, size):
            _answer(connection, {"have": True})
            return
        with cache.writer(sha256, size) as file:
            _answer(connection, {"have": False})
            while file.size_bytes < size:
                block = connection.recv(min(_BLOCK_BYTES, size - file.size_bytes))
                if not block:
                    raise DeviceError("the sender stopped")
                file.write(block)
        _answer(connection, {"have": True})
    except (DeviceError, OSError, ValueError, KeyError, TypeError) as error:
        _answer(connection, {"error": " ".join(str(error).split())[:500]})
        raise


def _answer(connection: socket.socket, answer: dict[str, Any]) -> None:
    text = json.dumps(answer).encode()
    connection.sendall(struct.pack("<i", len(text)) + text)
