import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tvm import rpc

from jointdnn_tvm.deploy.handshake import RPC_MAGIC
from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.remote import RemoteSession, connect, request
from jointdnn_tvm.runtime.tracker_client import tracker_summary
from tests.deployment import (
    DeviceServerKind,
    children,
    eventually,
    group_members,
    is_gone,
    running,
    session_folders,
)

HELLO = struct.pack("<ii", RPC_MAGIC, 7) + b"client:"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("device")


@pytest.fixture(scope="module")
def device(serve_device: DeviceServerKind, folder: Path) -> Iterator[tuple[ServerProcess, Address]]:
    with serve_device(folder, "--key", "phone", "--target", "raspberry-pi-4") as device:
        yield device


def _information(session: RemoteSession) -> dict[str, object]:
    ask = session.function("jointdnn.device_info")
    with session.deadline(10, "asking who it is"):
        return dict(json.loads(ask()))


def test_says_who_it_is(device: tuple[ServerProcess, Address]) -> None:
    with connect(device[1], deadline_s=20) as session:
        information = _information(session)
    assert information["target"] == "raspberry-pi-4"
    assert information["cores"] == len(os.sched_getaffinity(0))
    assert not information["emulated"]


def test_serves_tvms_own_client(device: tuple[ServerProcess, Address]) -> None:
    session = rpc.connect(device[1].host, device[1].port, "phone", session_timeout=30)
    session.upload(bytearray(b"content"), "a.bin")
    assert bytes(session.download("a.bin")) == b"content"
    session.remove("a.bin")
    assert session.listdir(".") == ""


def test_each_session_has_a_folder_of_its_own(
    device: tuple[ServerProcess, Address], folder: Path
) -> None:
    with connect(device[1], deadline_s=20) as session:
        with session.deadline(10, "sending"):
            session.upload(b"content", "a.bin")
        (workdir,) = session_folders(folder)
        assert (workdir / "a.bin").read_bytes() == b"content"
    assert eventually(lambda: not session_folders(folder))


@pytest.mark.parametrize("action", ["upload", "download", "remove", "load_module"])
def test_no_file_name_leads_out_of_it(device: tuple[ServerProcess, Address], action: str) -> None:
    with connect(device[1], deadline_s=20) as session:
        function = session.function(f"tvm.rpc.server.{action}")
        for name in ("../a", "/tmp/a", "a/../../b", "", ".", "..", ".hidden"):
            arguments = (name, bytearray(b"x")) if action == "upload" else (name,)
            with (
                pytest.raises(DeviceError, match="is not a plain file name"),
                session.deadline(10, "misnaming"),
            ):
                function(*arguments)


@pytest.mark.parametrize("sig", [signal.SIGSEGV, signal.SIGKILL, signal.SIGBUS])
def test_a_session_dies_alone(
    device: tuple[ServerProcess, Address], folder: Path, sig: signal.Signals
) -> None:
    server, address = device
    with connect(address, deadline_s=20) as session:
        (pid,) = children(server.pid)
        os.kill(pid, sig)
        with pytest.raises(DeviceError, match="was lost"):
            _information(session)
    with connect(address, deadline_s=20) as session:
        assert _information(session)["hostname"] == socket.gethostname()
    assert f"killed by {sig.name}" in server.log()
    assert eventually(lambda: not session_folders(folder))


def test_those_who_wait_are_served_in_turn(device: tuple[ServerProcess, Address]) -> None:
    first = connect(device[1], deadline_s=20)
    second: list[RemoteSession] = []
    thread = threading.Thread(target=lambda: second.append(connect(device[1], deadline_s=20)))
    thread.start()
    time.sleep(0.1)
    assert not second
    first.close()
    thread.join()
    second[0].close()


def test_strangers_do_no_harm(device: tuple[ServerProcess, Address]) -> None:
    address = (device[1].host, device[1].port)
    with socket.create_connection(address):  # says nothing
        for words in (
            b"GET / HTTP/1.1\r\n\r\n",
            struct.pack("<ii", RPC_MAGIC, 1 << 30),
            b"",
            b"\0",
        ):
            with socket.create_connection(address) as stranger, suppress(OSError):
                stranger.sendall(words)
                stranger.shutdown(socket.SHUT_WR)
                assert stranger.recv(64) == b""
        connect(device[1], deadline_s=20).close()


def test_one_who_waits_and_leaves_does_no_harm(device: tuple[ServerProcess, Address]) -> None:
    with connect(device[1], deadline_s=20), pytest.raises(DeviceError, match="may be busy"):
        connect(device[1], deadline_s=0.2)
    connect(device[1], deadline_s=20).close()


def test_half_a_message_does_no_harm(device: tuple[ServerProcess, Address], folder: Path) -> None:
    for half in (HELLO[:6], HELLO[:-1], HELLO + b"\xff", HELLO + struct.pack("<Q", 1 << 20) + b"x"):
        with socket.create_connection((device[1].host, device[1].port)) as client:
            client.sendall(half)
            if half.startswith(HELLO):
                client.settimeout(10)
                assert client.recv(4) == struct.pack("<i", RPC_MAGIC)
        connect(device[1], deadline_s=20).close()
    assert eventually(lambda: not session_folders(folder))


def test_a_client_that_leaves_without_goodbye(device: tuple[ServerProcess, Address]) -> None:
    script = (
        "import sys; from jointdnn_tvm.runtime.remote import connect;"
        "from jointdnn_tvm.runtime.address import Address;"
        "s = connect(Address.parse(sys.argv[1]), deadline_s=20); print('in', flush=True);"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(device[1])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"in\n"
        (pid,) = children(device[0].pid)
        client.kill()
    connect(device[1], deadline_s=20).close()
    assert eventually(lambda: is_gone(pid))


def test_a_session_timeout_of_tvms_holds(device: tuple[ServerProcess, Address]) -> None:
    key = "client:phone -timeout=0.3"
    with socket.create_connection((device[1].host, device[1].port)) as client:
        client.settimeout(10)
        client.sendall(struct.pack("<ii", RPC_MAGIC, len(key)) + key.encode())
        assert client.recv(64) == struct.pack("<ii", RPC_MAGIC, 12) + b"server:phone"
        assert client.recv(64) == b""


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_leaves_nothing_behind(
    serve_device: DeviceServerKind, tmp_path: Path, sig: signal.Signals
) -> None:
    slowdown = ("--slowdown", "4") if serve_device.is_python else ()
    with serve_device(tmp_path, *slowdown) as (server, address):
        with connect(address, deadline_s=20) as session:
            assert _information(session)["emulated"] == serve_device.is_python
            members = {server.pid, *children(server.pid), *group_members(server.pid)}
            # Server and session, and two that slow it.
            assert len(members) == (4 if serve_device.is_python else 2)
            os.kill(server.pid, sig)
            assert eventually(lambda: all(map(is_gone, members)))
        assert "Traceback" not in server.log()
    assert not session_folders(tmp_path)


def test_its_sessions_die_with_it(serve_device: DeviceServerKind, tmp_path: Path) -> None:
    slowdown = ("--slowdown", "4") if serve_device.is_python else ()
    with (
        serve_device(tmp_path, *slowdown) as (server, address),
        connect(address, deadline_s=20),
    ):
        members = {server.pid, *children(server.pid), *group_members(server.pid)}
        assert len(members) > 1
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: all(map(is_gone, members)))


def test_ends_with_its_owner(serve_device: DeviceServerKind, tmp_path: Path) -> None:
    program, *words = serve_device.words
    words += ["--port", "0", "--cache", str(tmp_path), "--until-stdin-closes"]
    script = (
        "import sys; from jointdnn_tvm.deploy.server_process import ServerProcess;"
        f"s = ServerProcess('device', {words}, None, {program!r});"
        "s.wait_ready(60); print(s.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    assert eventually(lambda: not group_members(pid))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--tracker", "127.0.0.1:1"), "no tracker at 127.0.0.1:1 (Connection refused)"),
        (("--tracker", "nonsense"), "'nonsense' is not an address"),
        (("--host", "203.0.113.1"), "cannot listen at 203.0.113.1:0"),
        (("--cache", "/proc/none"), "the cache folder /proc/none cannot be written"),
        (("--target", "no such board"), "no such board"),
        (("--port", "65536"), "65536"),
    ],
)
def test_complains_in_one_line(
    serve_device: DeviceServerKind, tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    command = [*serve_device.words, "--port", "0", "--cache", str(tmp_path), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert done.stderr.startswith("jointdnn: error: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_registers_again_after_a_tracker_restart(
    serve_device: DeviceServerKind, tmp_path: Path
) -> None:
    with running("tracker", "--port", "0") as (first, tracker):
        words = ("--tracker", str(tracker), "--key", "phone")
        with serve_device(tmp_path, *words) as (server, address):
            with request(tracker, "phone", 20):
                first.close()
            with running("tracker", "--port", str(tracker.port)):
                with request(tracker, "phone", 20) as session:
                    assert session.address == address
                listed = tracker_summary(tracker)["server_info"]
            assert [info["key"] for info in listed] == ["server:phone"]
            assert re.search("lost tracker .*\n(.*\n)*.*registered .* again", server.log())


def test_a_frozen_client_does_not_keep_the_device(
    serve_device: DeviceServerKind, tmp_path: Path
) -> None:
    with running("tracker", "--port", "0") as (_, tracker):
        words = ("--tracker", str(tracker), "--key", "phone", "--silence-s", "1")
        with (
            serve_device(tmp_path, *words) as (server, address),
            socket.create_connection((address.host, address.port)) as frozen,
        ):
            frozen.sendall(HELLO + struct.pack("<Q", 1 << 20))  # half a message
            with request(tracker, "phone", 20) as session:
                assert session.address == address
            assert "has been silent for too long" in server.log()
            listed = tracker_summary(tracker)["server_info"]
            assert [info["key"] for info in listed] == ["server:phone"]
            assert eventually(lambda: tracker_summary(tracker)["queue_info"]["phone"]["free"] == 1)


def test_an_offer_that_nobody_took_stands(serve_device: DeviceServerKind, tmp_path: Path) -> None:
    with running("tracker", "--port", "0") as (_, tracker):
        words = ("--tracker", str(tracker), "--key", "phone")
        with serve_device(tmp_path, *words) as (server, address):
            for _ in range(3):  # clients that come by themselves, not by the tracker
                with connect(address, deadline_s=20) as session:
                    session.function("jointdnn.device_info")()
            assert eventually(lambda: server.log().count(" ends: ") == 3)
            assert tracker_summary(tracker)["queue_info"]["phone"]["free"] == 1


def test_one_who_speaks_is_not_silent(serve_device: DeviceServerKind, tmp_path: Path) -> None:
    with (
        serve_device(tmp_path, "--silence-s", "1") as (server, address),
        connect(address, deadline_s=20) as session,
    ):
        ask = session.function("jointdnn.device_info")
        for _ in range(20):
            with session.deadline(10, "asking"):
                ask()
            assert not eventually(lambda: "silent" in server.log(), within_s=0.1)
