"""The device's side of plain bytes, at the other end of a pair of sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from jointdnn_tvm.deploy import byte_exchange
from jointdnn_tvm.deploy.byte_exchange import exchange_bytes
from jointdnn_tvm.runtime.byte_connection import SIZES, receive_away


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        yield ours, theirs


def test_headers_may_come_in_pieces(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    thread = threading.Thread(target=exchange_bytes, args=(theirs,))
    thread.start()
    said = SIZES.pack(4, 2) + b"abcd" + SIZES.pack(0, 0)
    for part in (said[:7], said[7:19], said[19:]):
        ours.sendall(part)
    receive_away(ours, SIZES.size + 2 + SIZES.size)
    ours.shutdown(socket.SHUT_WR)
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("said", [SIZES.pack(9, 9), SIZES.pack(9, 9) + b"12345678"])
def test_a_peer_that_leaves_in_the_middle(
    ends: tuple[socket.socket, socket.socket], said: bytes
) -> None:
    ours, theirs = ends
    ours.sendall(said)
    ours.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError):
        exchange_bytes(theirs)


@pytest.mark.parametrize("sizes", [(-1, 5), (5, -1), (byte_exchange._LARGEST_BYTES + 1, 0)])
def test_sizes_that_cannot_be(
    ends: tuple[socket.socket, socket.socket], sizes: tuple[int, int]
) -> None:
    ours, theirs = ends
    ours.sendall(SIZES.pack(*sizes))
    with pytest.raises(ValueError, match=f"exchange {sizes[0]} and {sizes[1]} bytes"):
        exchange_bytes(theirs)


def test_a_peer_that_says_nothing_is_left(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_exchange, "_SILENCE_S", 0.05)
    with pytest.raises(TimeoutError):
        exchange_bytes(ends[1])
