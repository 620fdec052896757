"""A TCP relay that acts once, in the middle of whatever passes, after a number of bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.closing import Closing


@dataclass(eq=False)
class _Connection:
    client: socket.socket
    server: socket.socket
    cut: bool = False
    threads: list[threading.Thread] = field(default_factory=list)

    def shut_down(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class CutRelay(Closing):
    """What connects to `address` reaches `target`.

    When `after_bytes` have passed, both ways together, `act` is called, and nothing more passes
    over the connections of that moment: a cable that is cut tells nobody. They end when the
    client gives up; later connections are well again.
    """

    def __init__(self, target: Address) -> None:
        self.target = target
        self.after_bytes: int | None = None
        self.act: Callable[[], None] = lambda: None
        self.bytes = 0
        self._connections: list[_Connection] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection((self.target.host, self.target.port), 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            connection = _Connection(client, server)
            self._connections.append(connection)
            for ends in ((client, server), (server, client)):
                ends[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                thread = threading.Thread(target=self._pump, args=(connection, *ends))
                connection.threads.append(thread)
            for thread in connection.threads:
                thread.start()

    def _pump(self, connection: _Connection, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data[: self._let_through(connection, len(data))])
        connection.shut_down()

    def _let_through(self, connection: _Connection, size: int) -> int:
        """How many of so many bytes pass."""
        with self._lock:
            if connection.cut:
                return 0
            self.bytes += size
            if self.after_bytes is None or self.bytes < self.after_bytes:
                return size
            passed = max(size - (self.bytes - self.after_bytes), 0)
            self.after_bytes = None
            for other in self._connections:
                other.cut = True
        self.act()
        return passed

    def close(self) -> None:
        """End all connections, and take no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in self._connections:
            connection.shut_down()
            for thread in connection.threads:
                thread.join()
            connection.client.close()
            connection.server.close()
