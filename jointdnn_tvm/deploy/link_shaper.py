"""Emulate a radio link: a TCP forwarder with a rate for each direction and a delay.

It runs in a process of its own, so that neither the client's interpreter nor the server's gets in
its way, and is labelled emulated wherever its numbers are shown. Bytes leave when those before
them have been serialised at the link's rate, half a round trip later. All connections share the
link. What is under way is bounded, and so are the sockets' buffers: a sender feels the rate soon.
"""

from __future__ import annotations

import os
import queue
import socket
import sys
import threading
import time
from contextlib import suppress

from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.deploy.sockets import listen
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.closing import Closing

_START_S = 20.0
_CHUNK_S = 0.002  # bytes leave in chunks that take the link this long
_MIN_CHUNK_BYTES, _MAX_CHUNK_BYTES = 1448, 32768
_SOCKET_BUFFER_BYTES = 32768


class LinkShaper(Closing):
    """Context manager: what connects to `address` reaches `target` over the emulated link.

    Rates are in bits of payload per second; `rtt_s` is the round trip added to every exchange.
    """

    def __init__(
        self, target: Address, *, uplink_bps: float, downlink_bps: float, rtt_s: float
    ) -> None:
        if uplink_bps <= 0 or downlink_bps <= 0 or rtt_s < 0:
            raise ValueError("a link has positive rates and a round trip that is not negative")
        numbers = [str(uplink_bps), str(downlink_bps), str(rtt_s)]
        self._process = ServerProcess(
            "link shaper", ["-m", __name__, target.host, str(target.port), *numbers]
        )
        try:
            self.address = self._process.wait_ready(_START_S)
        except BaseException:
            self._process.close()
            raise

    def close(self) -> None:
        """End the forwarder; its connections are cut."""
        self._process.close()


class Direction:
    """One way of the link, shared by all connections: when may which bytes arrive?"""

    def __init__(self, rate_bps: float, delay_s: float) -> None:
        self.chunk_bytes = int(
            min(max(rate_bps / 8 * _CHUNK_S, _MIN_CHUNK_BYTES), _MAX_CHUNK_BYTES)
        )
        self.capacity_bytes = int(rate_bps / 8 * (delay_s + 10 * _CHUNK_S)) + 2 * self.chunk_bytes
        self._seconds_per_byte = 8 / rate_bps
        self._delay_s = delay_s
        self._free_at = 0.0
        self._lock = threading.Lock()

    def arrival(self, size_bytes: int, now: float) -> float:
        """When the last of so many bytes, given to the link now, comes out of it."""
        with self._lock:
            self._free_at = max(self._free_at, now) + size_bytes * self._seconds_per_byte
            return self._free_at + self._delay_s


class _Pump:
    """Moves the bytes of one connection in one direction."""

    def __init__(self, source: socket.socket, sink: socket.socket, way: Direction) -> None:
        self._source = source
        self._sink = sink
        self._way = way
        self._arrivals: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        self._under_way_bytes = 0
        self._moved = threading.Condition()
        for work in (self._take, self._deliver):
            threading.Thread(target=work, daemon=True).start()

    def _take(self) -> None:
        data = b"?"
        while data:
            try:
                data = self._source.recv(self._way.chunk_bytes)
            except OSError:
                data = b""
            arrival = self._way.arrival(len(data), time.monotonic())
            with self._moved:
                self._under_way_bytes += len(data)
                self._arrivals.put((arrival, data))
                self._moved.wait_for(lambda: self._under_way_bytes < self._way.capacity_bytes)

    def _deliver(self) -> None:
        while True:
            at, data = self._arrivals.get()
            time.sleep(max(at - time.monotonic(), 0.0))
            try:
                if not data:
                    break
                self._sink.sendall(data)
            except OSError:  # the receiver is gone: so is the connection
                with suppress(OSError):
                    self._source.shutdown(socket.SHUT_RDWR)
                break
            with self._moved:
                self._under_way_bytes -= len(data)
                self._moved.notify()
        with suppress(OSError):
            self._sink.shutdown(socket.SHUT_WR)


def _forward(client: socket.socket, target: Address, up: Direction, down: Direction) -> None:
    try:
        server = socket.create_connection((target.host, target.port), 10.0)
    except OSError:
        client.close()
        return
    server.settimeout(None)
    for end in (client, server):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
    _Pump(client, server, up)
    _Pump(server, client, down)


def _serve(target: Address, up: Direction, down: Direction) -> None:
    listener = listen("127.0.0.1", 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
    print(f"READY 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_forward, args=(client, target, up, down), daemon=True).start()


def _main(host: str, port: str, uplink_bps: str, downlink_bps: str, rtt_s: str) -> None:
    up, down = (Direction(float(rate), float(rtt_s) / 2) for rate in (uplink_bps, downlink_bps))
    serving = (Address(host, int(port)), up, down)
    threading.Thread(target=_serve, args=serving, daemon=True).start()
    sys.stdin.buffer.read()  # until the owner is gone
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
