import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.tracker_client import (
    MAGIC,
    SUMMARY,
    TrackerConnection,
    tracker_summary,
    why_nothing_came,
)


@contextmanager
def _server(talk: Callable[[socket.socket], None]) -> Iterator[Address]:
    """A server that treats each of its clients alike."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    talk(client)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield Address(*listener.getsockname())
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _tracker(summary: dict[str, Any]) -> Callable[[socket.socket], None]:
    def talk(client: socket.socket) -> None:
        client.sendall(client.recv(4))
        while size := client.recv(4):
            request = json.loads(client.recv(*struct.unpack("<i", size)))
            assert request[0] == SUMMARY
            answer = json.dumps([0, summary]).encode()
            for part in (struct.pack("<i", len(answer)), answer[:7], answer[7:]):
                client.sendall(part)

    return talk


SUMMARY_OF_TWO = {
    "queue_info": {"mobile": {"free": 0, "pending": 1}},
    "server_info": [{"key": "server:mobile", "addr": ["10.0.0.2", 9090]}],
}


def test_reads_a_summary() -> None:
    with _server(_tracker(SUMMARY_OF_TWO)) as address:
        assert tracker_summary(address) == SUMMARY_OF_TWO


def test_tells_busy_from_absent() -> None:
    with _server(_tracker(SUMMARY_OF_TWO)) as address:
        busy = str(why_nothing_came(address, "mobile", 3))
        absent = str(why_nothing_came(address, "cloud", 3))
    assert "1 is registered and busy" in busy
    assert f"jointdnn tracker --status {address}" in busy
    assert f"`jointdnn device --tracker {address} --key cloud`" in absent


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = Address(*unused.getsockname())
    with pytest.raises(DeviceError, match=f"no tracker at {address} .*jointdnn tracker --port"):
        TrackerConnection(address, 1)
    assert "no tracker at" in str(why_nothing_came(address, "mobile", 1))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n"])
def test_something_else_listens(answer: bytes) -> None:
    def talk(client: socket.socket) -> None:
        client.recv(4)
        client.sendall(answer)

    with (
        _server(talk) as address,
        pytest.raises(DeviceError, match="is not a TVM RPC tracker"),
    ):
        TrackerConnection(address, 1)


def test_does_not_wait_for_a_tracker_that_hangs() -> None:
    release = threading.Event()

    def talk(client: socket.socket) -> None:
        client.sendall(struct.pack("<i", MAGIC))
        release.wait()

    with _server(talk) as address:
        try:
            with pytest.raises(DeviceError, match=r"did not tell its status within 0\.2 s"):
                tracker_summary(address, 0.2)
        finally:
            release.set()


def test_refuses_a_giant_answer() -> None:
    def talk(client: socket.socket) -> None:
        client.sendall(client.recv(4))
        client.recv(64)
        client.sendall(struct.pack("<i", 1 << 30))

    with _server(talk) as address, pytest.raises(DeviceError, match="1073741824 bytes"):
        tracker_summary(address)
