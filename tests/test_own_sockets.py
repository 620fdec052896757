import socket
import threading

from jointdnn_tvm.runtime.own_sockets import NewSockets


def test_finds_only_new_sockets_to_that_peer() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as wanted,
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.create_connection(wanted.getsockname()),
    ):
        opened = NewSockets(*wanted.getsockname())
        assert opened.find() == []
        with (
            socket.create_connection(other.getsockname()),
            socket.create_connection(wanted.getsockname()) as new,
        ):
            (found,) = opened.find()
            with found:
                assert found.getsockname() == new.getsockname()


def test_wakes_a_blocked_call() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        opened = NewSockets(*server.getsockname())
        with socket.create_connection(server.getsockname()) as client:
            timer = threading.Timer(0.05, opened.shut_down)
            timer.start()
            assert client.recv(1) == b""
            timer.join()


def test_wakes_a_connection_that_is_still_on_its_way() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):  # the queue is full: SYNs get lost
            opened = NewSockets(*full.getsockname())
            with socket.socket() as waiting:
                waiting.settimeout(None)
                timer = threading.Timer(0.1, opened.shut_down)
                timer.start()
                assert waiting.connect_ex(full.getsockname()) != 0
                timer.join()
