"""What only the device server of `device_server/` has; `test_device_server.py` drives both."""

import os
import random
import signal
import socket
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tvm

from jointdnn_tvm.deploy.handshake import RPC_MAGIC
from jointdnn_tvm.runtime.remote import connect
from tests.deployment import DeviceServerKind, eventually
from tests.native_programs import native_device_server, native_program


@pytest.fixture(scope="module")
def serve() -> DeviceServerKind:
    return native_device_server()


def test_what_a_session_started_ends_with_it(serve: DeviceServerKind, tmp_path: Path) -> None:
    with serve(tmp_path) as (server, address):
        with connect(address, deadline_s=20):
            text = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
            (session,) = map(int, text.split())
            assert os.getpgid(session) == session != os.getpgid(server.pid)
            os.kill(session, signal.SIGSTOP)  # it cannot leave by itself
        assert eventually(lambda: not Path(f"/proc/{session}").exists())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_fills_with_numbers_from_0_to_1(
    serve: DeviceServerKind, tmp_path: Path, dtype: str
) -> None:
    with serve(tmp_path) as (_, address), connect(address, deadline_s=20) as session:
        fill = session.function("jointdnn.random_fill")
        with session.deadline(20, "filling"):
            tensor = tvm.runtime.tensor(np.full((100, 7), 2, dtype), session.device())
            fill(tensor)
            values = tensor.numpy()
    assert values.min() >= 0
    assert values.max() < 1
    assert len(np.unique(values)) > 200


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--port"], "--port needs a value"),
        (["--port", "x"], "--port takes a whole number from 0 to 65535, not 'x'"),
        (["--port", "80 "], "--port takes a whole number from 0 to 65535, not '80 '"),
        (["--cache-bytes", "-1"], "--cache-bytes takes a whole number from 1 to"),
        (["--silence-s", "0"], "--silence-s takes a whole number from 1 to"),
        (["--key", "two words"], "--key takes up to 64 letters, digits and _.+-"),
        (["--slowdown", "4"], "there is no option '--slowdown'"),
        (["--tracker", "127.0.0.1:0"], "has no port from 1 to 65535"),
        (["--tracker", "::1:9190"], "is not an address"),
        (["--host", ""], "--host needs an address"),
        (["--no\nsuch"], "there is no option '--no?such'"),
    ],
)
def test_wrong_options(serve: DeviceServerKind, words: list[str], complaint: str) -> None:
    done = subprocess.run([*serve.words, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert done.stderr.startswith("jointdnn: error: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_help(serve: DeviceServerKind) -> None:
    done = subprocess.run([*serve.words, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: jointdnn-device")
    assert done.stderr == ""


def test_warns_who_listens_to_everybody(serve: DeviceServerKind, tmp_path: Path) -> None:
    with serve(tmp_path, "--host", "0.0.0.0") as (server, address):
        assert address.host == "0.0.0.0"
        assert "WARNING: listening at 0.0.0.0: whoever reaches this port" in server.log()


def _fuzz(rounds: int, sanitized: bool) -> list[int]:
    """How often each reader understood what it was sent."""
    command = [str(native_program("fuzz", sanitized)), str(rounds), "1"]
    in_memory = {**os.environ, "TMPDIR": "/dev/shm"}  # a hundred thousand files
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=in_memory)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    counts = [line.split(": ")[1].split() for line in done.stdout.splitlines()]
    assert all(int(count[0]) + int(count[2]) == rounds for count in counts)
    return [int(count[0]) for count in counts]


def test_whatever_strangers_say() -> None:
    understood = _fuzz(2_000, sanitized=False)
    assert len(understood) == 6
    assert all(0 < count < 2_000 for count in understood)


@pytest.mark.slow
def test_whatever_strangers_say_with_memory_watched() -> None:
    assert min(_fuzz(100_000, sanitized=True)) > 1000


@pytest.mark.slow
def test_serves_on_after_many_strangers(tmp_path: Path) -> None:
    source = random.Random(1)
    sound = struct.pack("<ii", RPC_MAGIC, 12) + b"client:phone"
    with native_device_server(sanitized=True)(tmp_path, "--key", "phone") as (server, address):
        for _ in range(20_000):
            words = bytearray(sound)
            for _ in range(source.randrange(1, 4)):
                words[source.randrange(len(words))] = source.randrange(256)
            with (
                socket.create_connection((address.host, address.port), 20) as stranger,
                suppress(OSError),
            ):
                stranger.sendall(words[: source.randrange(len(words) + 1)])
        with connect(address, "phone", 20) as session:
            assert session.has_function("jointdnn.device_info")
        assert "turned 127.0.0.1:" in server.log()
