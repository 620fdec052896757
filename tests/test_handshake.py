import select
import socket
import struct
from collections.abc import Iterator

import pytest

from jointdnn_tvm.deploy.handshake import KEY_MISMATCH, RPC_MAGIC, Handshake
from jointdnn_tvm.runtime.file_transfer import FILE_MAGIC


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Handshake]]:
    """A client, and the server's side of its connection."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as connection,
    ):
        client.settimeout(10)
        yield client, Handshake(connection, "client")


def _finish(handshake: Handshake) -> None:
    while not handshake.advance():
        pass


def test_reads_byte_by_byte(pair: tuple[socket.socket, Handshake]) -> None:
    client, handshake = pair
    assert not handshake.advance()
    for byte in struct.pack("<ii", RPC_MAGIC, 12) + b"client:phon":
        client.sendall(bytes([byte]))
        assert select.select([handshake.connection], [], [], 10)[0]
        assert not handshake.advance()
    client.sendall(b"e")
    _finish(handshake)
    assert handshake.key == "phone"


def test_a_client_with_options(pair: tuple[socket.socket, Handshake]) -> None:
    client, handshake = pair
    text = b"client:phone:0.25 -timeout=1.5"
    client.sendall(struct.pack("<ii", RPC_MAGIC, len(text)) + text + b"more")
    _finish(handshake)
    assert handshake.key == "phone:0.25"
    assert handshake.timeout_s == 1.5
    assert not handshake.left()
    handshake.accept("phone")
    assert client.recv(64) == struct.pack("<ii", RPC_MAGIC, 12) + b"server:phone"
    assert handshake.connection.recv(64) == b"more"


def test_a_client_without_a_key(pair: tuple[socket.socket, Handshake]) -> None:
    client, handshake = pair
    client.sendall(struct.pack("<ii", RPC_MAGIC, 7) + b"client:")
    _finish(handshake)
    assert handshake.key == ""
    assert handshake.timeout_s is None
    handshake.refuse()
    assert client.recv(64) == struct.pack("<i", KEY_MISMATCH)
    assert client.recv(64) == b""


def test_a_sender_of_files(pair: tuple[socket.socket, Handshake]) -> None:
    client, handshake = pair
    client.sendall(struct.pack("<ii", FILE_MAGIC, 2) + b"{}")
    _finish(handshake)
    assert (handshake.magic, handshake.text) == (FILE_MAGIC, "{}")


@pytest.mark.parametrize(
    "words",
    [b"GET / HT", struct.pack("<ii", RPC_MAGIC, -1), struct.pack("<ii", RPC_MAGIC, 1 << 20)],
)
def test_strangers(pair: tuple[socket.socket, Handshake], words: bytes) -> None:
    client, handshake = pair
    client.sendall(words)
    with pytest.raises(ConnectionError, match="speaks neither"):
        _finish(handshake)


def test_one_who_leaves(pair: tuple[socket.socket, Handshake]) -> None:
    client, handshake = pair
    client.close()
    with pytest.raises(ConnectionError, match="left before"):
        _finish(handshake)
    assert handshake.left()
