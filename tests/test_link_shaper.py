import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from jointdnn_tvm.deploy.link_shaper import Direction, LinkShaper
from jointdnn_tvm.runtime.address import Address

KB200 = 200_000


def _receive(connection: socket.socket, size: int) -> None:
    while size:
        part = connection.recv(min(size, 1 << 16))
        if not part:
            raise ConnectionError
        size -= len(part)


def _answer(connection: socket.socket) -> None:
    """Take as many bytes as the client says, and give as many as it wants."""
    with connection, suppress(ConnectionError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while header := connection.recv(8, socket.MSG_WAITALL):
            taken, given = struct.unpack("<ii", header)
            _receive(connection, taken)
            connection.sendall(bytes(given))


@pytest.fixture(scope="module")
def server() -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_answer, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        yield Address(*listener.getsockname())
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _exchange_s(connection: socket.socket, up: int, down: int) -> float:
    start = time.perf_counter()
    connection.sendall(struct.pack("<ii", up, down) + bytes(up))
    _receive(connection, down)
    return time.perf_counter() - start


@pytest.mark.parametrize(
    ("uplink_bps", "downlink_bps", "rtt_s", "repeats"),
    [(1.1e6, 2.03e6, 0.07, 1), (5.85e6, 13.76e6, 0.05, 3), (18.88e6, 54.97e6, 0.01, 5)],
)
def test_takes_the_time_that_the_link_would(
    server: Address, uplink_bps: float, downlink_bps: float, rtt_s: float, repeats: int
) -> None:
    rates = {"uplink_bps": uplink_bps, "downlink_bps": downlink_bps, "rtt_s": rtt_s}
    with (
        LinkShaper(server, **rates) as link,
        socket.create_connection((link.address.host, link.address.port)) as connection,
    ):
        for up, down in ((KB200, 1), (1, KB200)):
            due_s = 8 * (8 + up) / uplink_bps + 8 * down / downlink_bps + rtt_s
            took_s = min(_exchange_s(connection, up, down) for _ in range(repeats))
            assert due_s <= took_s < 1.1 * due_s
        idle_s = min(_exchange_s(connection, 1, 1) for _ in range(5))
        assert rtt_s <= idle_s < rtt_s + 0.01


def test_a_sender_feels_the_rate(server: Address) -> None:
    with (
        LinkShaper(server, uplink_bps=2e6, downlink_bps=2e6, rtt_s=0.01) as link,
        socket.socket() as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        connection.connect((link.address.host, link.address.port))
        start = time.perf_counter()
        connection.sendall(struct.pack("<ii", KB200, 0) + bytes(KB200))
        assert time.perf_counter() - start > 0.5 * 8 * KB200 / 2e6


def test_passes_the_end_of_a_connection_on(server: Address) -> None:
    with (
        LinkShaper(server, uplink_bps=1e9, downlink_bps=1e9, rtt_s=0.01) as link,
        socket.create_connection((link.address.host, link.address.port)) as connection,
    ):
        connection.settimeout(10)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((link.address.host, link.address.port))


def test_nobody_listens_behind_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        target = Address(*unused.getsockname())
    with (
        LinkShaper(target, uplink_bps=1e9, downlink_bps=1e9, rtt_s=0) as link,
        socket.create_connection((link.address.host, link.address.port)) as connection,
    ):
        connection.settimeout(10)
        assert connection.recv(1) == b""


def test_connections_share_the_link() -> None:
    way = Direction(8e6, 0.5)  # a megabyte a second
    assert way.arrival(1000, now=10.0) == pytest.approx(10.501)
    assert way.arrival(1000, now=10.0) == pytest.approx(10.502)
    assert way.arrival(1000, now=20.0) == pytest.approx(20.501)


def test_a_link_has_rates() -> None:
    with pytest.raises(ValueError, match="positive rates"):
        LinkShaper(Address("127.0.0.1", 1), uplink_bps=0, downlink_bps=1, rtt_s=0)
