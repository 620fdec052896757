import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tvm

from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.remote import RemoteSession, connect, request, told_by_device
from tests.deployment import DeviceServerKind, children, running

NO_DIGEST = "0" * 64


@pytest.fixture(scope="module")
def device(
    serve_device: DeviceServerKind, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Address]]:
    """Process and address of a device server."""
    with serve_device(tmp_path_factory.mktemp("device"), "--key", "phone") as (server, address):
        yield server.pid, address


@pytest.fixture
def session(device: tuple[int, Address]) -> Iterator[RemoteSession]:
    with connect(device[1], deadline_s=20) as session:
        yield session


def _session_process(device: tuple[int, Address]) -> int:
    (pid,) = children(device[0])
    return pid


def test_calls_in_time(session: RemoteSession) -> None:
    has_file = session.function("jointdnn.has_file")
    with session.deadline(10, "looking for a file"):
        assert not has_file(NO_DIGEST, 1)
    assert session.alive
    assert session.has_function("jointdnn.device_info")
    assert not session.has_function("no.such.function")


def test_moves_tensors(session: RemoteSession) -> None:
    array = np.arange(12, dtype="float32").reshape(3, 4)
    with session.deadline(10, "copying a tensor"):
        tensor = tvm.runtime.tensor(array, session.device())
        np.testing.assert_array_equal(tensor.numpy(), array)


def test_what_the_device_reports_leaves_the_session_alive(session: RemoteSession) -> None:
    with (
        pytest.raises(DeviceError, match=r"misnaming a file: '\.\./x' is not a plain") as told,
        session.deadline(10, "misnaming a file"),
    ):
        session.upload(b"x", "../x")
    assert (told_by_device(told.value) or "").startswith("'../x' is not a plain file name")
    assert session.alive
    with pytest.raises(DeviceError, match=r"has no function no\.such"):
        session.function("no.such.function")
    assert session.alive


def test_an_error_of_the_block_itself_passes_through(session: RemoteSession) -> None:
    with pytest.raises(ValueError, match="mine"), session.deadline(10, "computing"):
        raise ValueError("mine")
    assert session.alive


def test_a_device_that_falls_silent(device: tuple[int, Address], session: RemoteSession) -> None:
    has_file = session.function("jointdnn.has_file")
    os.kill(_session_process(device), signal.SIGSTOP)
    start = time.monotonic()
    with (
        pytest.raises(DeviceError, match=r"did not answer within 0\.3 s while asking") as caught,
        session.deadline(0.3, "asking"),
    ):
        has_file(NO_DIGEST, 1)
    assert time.monotonic() - start < 5
    assert "\n" not in str(caught.value)
    assert str(device[1]) in str(caught.value)
    assert not session.alive
    with (
        pytest.raises(DeviceError, match=r"was ended because asking took over.*open a new one"),
        session.deadline(1, "asking again"),
    ):
        pytest.fail("a dead session was used")


def test_a_device_that_falls_silent_while_it_is_sent_much(
    device: tuple[int, Address], session: RemoteSession
) -> None:
    os.kill(_session_process(device), signal.SIGSTOP)
    with (
        pytest.raises(DeviceError, match="did not answer within"),
        session.deadline(0.3, "sending"),
    ):
        session.upload(bytes(8 << 20), "much.bin")


def test_a_session_that_is_killed(device: tuple[int, Address], session: RemoteSession) -> None:
    has_file = session.function("jointdnn.has_file")
    with session.deadline(10, "copying"):
        tensor = tvm.runtime.tensor(np.zeros(8, "float32"), session.device())
    pid = _session_process(device)
    os.kill(pid, signal.SIGSTOP)
    timer = threading.Timer(0.1, os.kill, (pid, signal.SIGKILL))
    timer.start()
    with (
        pytest.raises(DeviceError, match=r"was lost while asking.*try again"),
        session.deadline(20, "asking"),
    ):
        has_file(NO_DIGEST, 1)
    timer.join()
    assert not session.alive
    del tensor  # frees the remote memory, which is not there any more
    with connect(device[1], "phone", 20) as another:
        assert another.has_function("jointdnn.device_info")


def test_late_even_though_the_call_came_back(session: RemoteSession) -> None:
    with (
        pytest.raises(DeviceError, match="did not answer within"),
        session.deadline(0.05, "dawdling"),
    ):
        time.sleep(0.2)
    assert not session.alive


def test_an_interrupted_session_is_not_used_again(session: RemoteSession) -> None:
    with pytest.raises(KeyboardInterrupt), session.deadline(10, "waiting"):
        raise KeyboardInterrupt
    assert not session.alive
    with pytest.raises(DeviceError, match="was interrupted while waiting"):
        session.function("jointdnn.device_info")


def test_closed_is_closed(device: tuple[int, Address]) -> None:
    session = connect(device[1], deadline_s=20)
    session.close()
    session.close()
    with pytest.raises(DeviceError, match="was closed"), session.deadline(1, "asking"):
        pytest.fail("a closed session was used")


def test_waits_for_a_busy_device_no_longer_than_it_says(
    device: tuple[int, Address], session: RemoteSession
) -> None:
    start = time.monotonic()
    with pytest.raises(DeviceError, match=r"did not open a session within 0\.3 s; it may be busy"):
        connect(device[1], deadline_s=0.3)
    assert time.monotonic() - start < 5
    session.close()
    connect(device[1], deadline_s=20).close()


def test_a_server_that_accepts_and_says_nothing() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(DeviceError, match=r"did not open a session within 0\.2 s"),
    ):
        connect(Address(*silent.getsockname()), deadline_s=0.2)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = Address(*unused.getsockname())
    with pytest.raises(DeviceError, match=f"{address}: nobody listens.*jointdnn device --port"):
        connect(address)


def test_something_else_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def talk() -> None:
            with other.accept()[0] as client:
                client.recv(64)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(DeviceError, match="not a TVM RPC server"):
            connect(Address(*other.getsockname()))
        thread.join()


def test_another_key(device: tuple[int, Address]) -> None:
    with pytest.raises(DeviceError, match="does not serve the key 'tablet'"):
        connect(device[1], "tablet")


def test_unknown_host() -> None:
    with pytest.raises(DeviceError, match=r"no-such-host\.invalid:9090 cannot be found"):
        connect(Address("no-such-host.invalid", 9090))


def test_requests_through_a_tracker(serve_device: DeviceServerKind, tmp_path: Path) -> None:
    with running("tracker", "--port", "0") as (_, tracker):
        with pytest.raises(DeviceError, match="nobody serves it; start one with"):
            request(tracker, "phone", 0.2)
        words = ("--tracker", str(tracker), "--key", "phone")
        with serve_device(tmp_path, *words) as (server, address):
            with request(tracker, "phone", 20) as session:
                assert session.address == address
                with pytest.raises(DeviceError, match=r"within 0\.3 s: 1 is registered and busy"):
                    request(tracker, "phone", 0.3)
            with request(tracker, "phone", 20) as session:
                assert session.alive
            server.close()
        with pytest.raises(DeviceError, match=r"'phone' became free .*nobody serves it"):
            request(tracker, "phone", 0.2)


CTRL_C = """
import sys
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.remote import connect
try:
    print("waiting", flush=True)
    connect(Address("127.0.0.1", int(sys.argv[1])), deadline_s=60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_ends_a_wait(device: tuple[int, Address]) -> None:
    environment = {**os.environ, "TVM_USE_RUNTIME_LIB": "1"}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        words = [sys.executable, "-c", CTRL_C, str(silent.getsockname()[1])]
        with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"waiting\n"
            with silent.accept()[0] as client:
                client.recv(64)
                time.sleep(0.2)  # it waits for an answer now
                process.send_signal(signal.SIGINT)
                assert process.stdout.readline() == b"interrupted\n"
        assert process.returncode == 0
