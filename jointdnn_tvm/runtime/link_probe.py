"""Time the path to a device server: its link, and the messages of crossings over it.

The link is timed with plain bytes over a TCP connection of its own, which the server takes at any
time; messages by the very call that a cloud stage is, into a session, less the stage.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi

from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.byte_connection import NOISE, ByteConnection
from jointdnn_tvm.runtime.cloud import call
from jointdnn_tvm.runtime.exchange_times import ExchangeTimes, time_exchanges
from jointdnn_tvm.runtime.remote import RemoteSession, connect
from jointdnn_tvm.runtime.stage_server import EXCHANGE

PROBE = "jointdnn.probe_path"
BUDGET_S, SHORTEST_S = 2.0, 0.005
_EXCHANGE_S = 20.0


@dataclass(frozen=True)
class PathTimes:
    """What exchanges with a device take: of plain bytes over the link, and of messages."""

    link: ExchangeTimes
    messages: ExchangeTimes

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> PathTimes:
        """Read what `to_json` gave."""
        return cls(ExchangeTimes(**document["link"]), ExchangeTimes(**document["messages"]))


def probe_path(
    address: Address,
    key: str,
    deadline_s: float = 10.0,
    budget_s: float = BUDGET_S,
    shortest_s: float = SHORTEST_S,
) -> PathTimes:
    """Time both to the device server at `address`, each for about `budget_s` or less.

    `deadline_s` is for opening a session there, which waits for those before it; `shortest_s` is
    for `time_exchanges`. DeviceError when the device does not answer, or is another server.
    """
    with connect(address, key, deadline_s) as session:
        link = probe_link(address, deadline_s, budget_s, shortest_s)
        return PathTimes(link, probe_messages(session, budget_s, shortest_s))


def probe_link(
    address: Address,
    deadline_s: float = 10.0,
    budget_s: float = BUDGET_S,
    shortest_s: float = SHORTEST_S,
) -> ExchangeTimes:
    """Time plain bytes, whether the device has a session or not."""
    with ByteConnection(address, deadline_s) as connection:
        return time_exchanges(connection.exchange, budget_s, shortest_s)


def probe_messages(
    session: RemoteSession, budget_s: float = BUDGET_S, shortest_s: float = SHORTEST_S
) -> ExchangeTimes:
    """Time messages in an open session."""
    answer = session.function(EXCHANGE)

    @cache  # a crossing's tensor is there already
    def noise(size_bytes: int) -> np.ndarray:
        return np.resize(np.frombuffer(NOISE, "uint8"), size_bytes)

    def exchange(up_bytes: int, down_bytes: int) -> None:
        sent = {"sent": noise(up_bytes)}
        header = {"answer_bytes": down_bytes}
        received = call(session, answer, header, sent, _EXCHANGE_S, "exchanging messages")
        if [tensor.size for tensor in received.values()] != [down_bytes]:
            raise DeviceError(f"{session} answered with another size than it was asked for")

    return time_exchanges(exchange, budget_s, shortest_s)


def register(find_file: Callable[[str], Path]) -> None:
    """Add the function by which a client lets this device time its own path to another one."""
    del find_file  # nothing of this needs a file

    def probe(text: str) -> str:
        request = json.loads(text)
        address = Address(request.pop("host"), request.pop("port"))
        try:
            times = probe_path(address, **request)
        except DeviceError as error:
            return json.dumps({"why_not": str(error)})
        return json.dumps(times.to_json())

    tvm_ffi.register_global_func(PROBE, probe, override=True)
