"""Sockets of the deployment's servers."""

from __future__ import annotations

import socket
import sys

from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address

_LAST_DATA_RECV = 52  # where tcpi_last_data_recv, in ms, lies in Linux's struct tcp_info


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; DeviceError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise DeviceError(
            f"cannot listen at {Address(host, port)} ({getattr(error, 'strerror', error)}); "
            f"choose another --host or --port"
        ) from error
    return listener


def keep_alive(connection: socket.socket) -> None:
    """No delay for small messages; a peer that vanished is noticed within half a minute."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def silence_s(connection: socket.socket) -> float:
    """How long ago the peer sent something, which a frozen one does not."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECV + 4)
    return int.from_bytes(info[_LAST_DATA_RECV:], sys.byteorder) / 1e3


def warn_if_exposed(host: str, danger: str) -> None:
    """Say loudly on stderr what listening beyond this machine means."""
    if not Address(host, 0).is_loopback:
        print(
            f"jointdnn: WARNING: listening at {host}: whoever reaches this port can {danger}; "
            f"use it in a trusted network only",
            file=sys.stderr,
        )
