"""Plain bytes to each of the device servers and back, and whoever else listens there."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.byte_connection import (
    BYTES_MAGIC,
    NOISE,
    SIZES,
    ByteConnection,
    receive_away,
    send_noise,
)
from jointdnn_tvm.runtime.remote import connect
from tests.deployment import DeviceServerKind, eventually


@pytest.fixture(scope="module")
def device(
    serve_device: DeviceServerKind, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Address]:
    with serve_device(tmp_path_factory.mktemp("device")) as (_, address):
        yield address


def said_hello(address: Address) -> socket.socket:
    """A connection that the test speaks on itself."""
    connection = socket.create_connection((address.host, address.port), 20)
    connection.sendall(struct.pack("<ii", BYTES_MAGIC, 0))
    return connection


def test_as_many_bytes_as_were_asked_for_come_back(device: Address) -> None:
    with said_hello(device) as connection:
        for up, down in ((0, 0), (1, 0), (0, 1), (70_001, 200_003), (3, 5)):
            connection.sendall(SIZES.pack(up, down))
            send_noise(connection, up)
            assert connection.recv(SIZES.size, socket.MSG_WAITALL) == SIZES.pack(up, down)
            receive_away(connection, down)
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)  # and not one more


def test_the_answer_waits_for_the_last_byte(device: Address) -> None:
    with said_hello(device) as connection:
        connection.sendall(SIZES.pack(10, 10) + bytes(9))
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(20)
        connection.sendall(b"x")
        receive_away(connection, SIZES.size + 10)


def test_exchanges_also_while_the_device_has_a_session(device: Address) -> None:
    with connect(device, deadline_s=20) as session, ByteConnection(device, 20) as connection:
        for sizes in ((0, 0), (300_000, 0), (0, 300_000)):
            connection.exchange(*sizes)
        assert session.has_function("jointdnn.device_info")


@pytest.mark.parametrize("sizes", [(-1, 0), (0, -1), (1 << 40, 0), (0, 1 << 40)])
def test_nonsense_ends_the_connection_and_nothing_else(
    device: Address, sizes: tuple[int, int]
) -> None:
    with said_hello(device) as connection:
        connection.sendall(SIZES.pack(*sizes))
        assert connection.recv(1) == b""
    with ByteConnection(device, 20) as connection:
        connection.exchange(10, 10)


def test_a_peer_that_leaves_early_leaves_nothing(device: Address) -> None:
    for said in (b"", SIZES.pack(5, 5)[:3], SIZES.pack(5, 5), SIZES.pack(5, 5) + b"abc"):
        with said_hello(device) as connection:
            connection.sendall(said)

    def still_serves() -> bool:
        with ByteConnection(device, 20) as connection:
            connection.exchange(1, 1)
        return True

    assert eventually(still_serves)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = Address(*unused.getsockname())
    with pytest.raises(DeviceError, match=rf"{address} cannot be timed \(Connection refused\)"):
        ByteConnection(address)


def test_who_accepts_and_says_nothing_is_given_up() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        ByteConnection(Address(*silent.getsockname()), 0.2) as connection,
        pytest.raises(DeviceError, match=r"cannot be timed \(no answer\)") as told,
    ):
        connection.exchange(0, 0)
    assert "\n" not in str(told.value)


def test_a_server_that_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def hang_up() -> None:
            other.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with (
            pytest.raises(DeviceError, match="whether it is a `jointdnn device` of this version"),
            ByteConnection(Address(*other.getsockname()), 20) as connection,
        ):
            connection.exchange(0, 0)
        thread.join()


def test_noise_does_not_compress() -> None:
    import zlib

    assert len(zlib.compress(NOISE * 4, 9)) > 3.9 * len(NOISE)
