"""The device's side of `jointdnn_tvm.runtime.byte_connection`."""

from __future__ import annotations

import socket

from jointdnn_tvm.runtime.byte_connection import SIZES, receive_away, send_noise

_SILENCE_S = 30.0
_LARGEST_BYTES = 64 << 20


def exchange_bytes(connection: socket.socket) -> None:
    """Take and give as many bytes as the peer says, again and again, until it leaves."""
    connection.settimeout(_SILENCE_S)
    header = b""
    while part := connection.recv(SIZES.size - len(header)):
        header += part
        if len(header) < SIZES.size:
            continue
        taken, given = SIZES.unpack(header)
        if min(taken, given) < 0 or max(taken, given) > _LARGEST_BYTES:
            raise ValueError(f"its peer wanted to exchange {taken} and {given} bytes")
        receive_away(connection, taken)
        connection.sendall(header)
        send_noise(connection, given)
        header = b""
