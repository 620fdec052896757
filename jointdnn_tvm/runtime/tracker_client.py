"""A client of TVM's RPC tracker in which every step has a deadline.

The protocol is TVM's (`tvm/rpc/tracker.py`): a magic number each way, then JSON messages behind
their length. It is spoken here without TVM, whose own client waits for ever.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.closing import Closing

MAGIC = 0x2F271
SUCCESS, PUT, REQUEST, UPDATE_INFO, SUMMARY, GET_PENDING_MATCHKEYS = 0, 3, 4, 5, 6, 7
_MAX_MESSAGE_BYTES = 1 << 20


class TrackerConnection(Closing):
    """One connection to a tracker; every answer is awaited until the deadline, no longer."""

    def __init__(self, address: Address, deadline_s: float) -> None:
        self.address = address
        self._socket = _connect(address, deadline_s)
        try:
            self._socket.sendall(struct.pack("<i", MAGIC))
            (magic,) = struct.unpack("<i", self._receive(4, time.monotonic() + deadline_s))
        except (OSError, TimeoutError):
            magic = None
        if magic != MAGIC:
            self.close()
            raise DeviceError(
                f"what listens at {address} is not a TVM RPC tracker; start one with "
                f"`jointdnn tracker` and give its address"
            )

    def ask(self, message: list[Any], deadline_s: float) -> Any:
        """Send one message and return the answer; TimeoutError or OSError without one."""
        data = json.dumps(message).encode()
        until = time.monotonic() + deadline_s
        self._socket.settimeout(max(deadline_s, 0.001))
        self._socket.sendall(struct.pack("<i", len(data)) + data)
        (size,) = struct.unpack("<i", self._receive(4, until))
        if not 0 < size <= _MAX_MESSAGE_BYTES:
            raise ConnectionError(f"the tracker announced a message of {size} bytes")
        return json.loads(self._receive(size, until))

    def _receive(self, size: int, until: float) -> bytes:
        data = b""
        while len(data) < size:
            self._socket.settimeout(max(until - time.monotonic(), 0.001))
            # An answer comes in two parts, the second once the first is acknowledged.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            part = self._socket.recv(size - len(data))
            if not part:
                raise ConnectionError("the tracker closed the connection")
            data += part
        return data

    def close(self) -> None:
        """Leave; the tracker forgets what this connection registered or asked for."""
        self._socket.close()


def _connect(address: Address, deadline_s: float) -> socket.socket:
    try:
        return socket.create_connection((address.host, address.port), timeout=deadline_s)
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or error
        raise DeviceError(
            f"no tracker at {address} ({reason}); start one with "
            f"`jointdnn tracker --port {address.port}`"
        ) from error


def tracker_summary(address: Address, deadline_s: float = 5.0) -> dict[str, Any]:
    """What the tracker knows: `queue_info` by key, `server_info` a list of servers."""
    with TrackerConnection(address, deadline_s) as connection:
        try:
            code, summary = connection.ask([SUMMARY], deadline_s)
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"tracker {address} did not tell its status within {deadline_s:g} s ({error}); "
                f"start it again with `jointdnn tracker`"
            ) from error
    if code != SUCCESS:
        raise DeviceError(f"tracker {address} refused to tell its status (code {code})")
    return dict(summary)


def why_nothing_came(address: Address, key: str, waited_s: float) -> DeviceError:
    """The error of a request that no device took: is nobody registered, or are all busy?"""
    prefix = f"no device with key {key!r} became free at tracker {address} within {waited_s:g} s"
    look = f"look with `jointdnn tracker --status {address}`"
    try:
        servers = tracker_summary(address)["server_info"]
    except DeviceError as error:
        return DeviceError(f"{prefix}, and {error}")
    registered = sum(server.get("key") == f"server:{key}" for server in servers)
    if registered:
        are = "1 is registered and busy" if registered == 1 else f"all {registered} are busy"
        return DeviceError(f"{prefix}: {are}; wait, end the session that holds it, or {look}")
    return DeviceError(
        f"{prefix}: nobody serves it; start one with "
        f"`jointdnn device --tracker {address} --key {key}` or {look}"
    )
