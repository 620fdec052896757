import hashlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.file_transfer import FILE_MAGIC, file_digest, send_file
from jointdnn_tvm.runtime.remote import connect
from tests.deployment import DeviceServerKind, eventually


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("device")


@pytest.fixture(scope="module")
def device(serve_device: DeviceServerKind, folder: Path) -> Iterator[Address]:
    with serve_device(folder, "--cache-bytes", str(64 << 20)) as (_, address):
        yield address


def _file(path: Path, size: int) -> Path:
    path.write_bytes(os.urandom(size))
    return path


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_sends_once(device: Address, folder: Path, tmp_path: Path, size: int) -> None:
    file = _file(tmp_path / "weights.safetensors", size)
    sha256 = send_file(device, file)
    arrived = folder / "cache" / sha256
    assert arrived.read_bytes() == file.read_bytes()
    inode = arrived.stat().st_ino
    assert send_file(device, file) == sha256
    assert arrived.stat().st_ino == inode


def test_sends_while_the_device_is_in_a_session(device: Address, tmp_path: Path) -> None:
    file = _file(tmp_path / "weights.safetensors", 1000)
    with connect(device, deadline_s=20) as session:
        has_file = session.function("jointdnn.has_file")
        sha256 = send_file(device, file)
        with session.deadline(10, "asking for a file"):
            assert has_file(sha256, 1000)


def test_a_device_refuses_what_it_has_no_room_for(device: Address, tmp_path: Path) -> None:
    file = tmp_path / "huge.bin"
    with file.open("wb") as sparse:
        sparse.truncate((64 << 20) + 1)
    with pytest.raises(DeviceError, match=f"device {device} refused a file: .*--cache-bytes"):
        send_file(device, file)


def test_half_a_file_is_no_file(device: Address, folder: Path) -> None:
    sha256 = hashlib.sha256(b"whole").hexdigest()
    header = json.dumps({"sha256": sha256, "size_bytes": 5}).encode()
    with socket.create_connection((device.host, device.port)) as sender:
        sender.sendall(struct.pack("<ii", FILE_MAGIC, len(header)) + header + b"wh")
        assert json.loads(sender.recv(64)[4:]) == {"have": False}
    assert eventually(lambda: not list((folder / "cache").glob("incoming-*")))
    assert not (folder / "cache" / sha256).exists()


@pytest.mark.parametrize("header", [b"", b"{}", b"[]", b'{"sha256": "../x", "size_bytes": 1}'])
def test_a_device_refuses_nonsense(device: Address, header: bytes) -> None:
    with socket.create_connection((device.host, device.port)) as sender:
        sender.settimeout(10)
        sender.sendall(struct.pack("<ii", FILE_MAGIC, len(header)) + header)
        assert b'"error"' in sender.recv(4096)


def test_a_digest_that_is_not_the_files(device: Address, folder: Path, tmp_path: Path) -> None:
    file = _file(tmp_path / "a.so", 10)
    with pytest.raises(DeviceError, match="is something else; send it again"):
        send_file(device, file, sha256="0" * 64)
    assert send_file(device, file, sha256=file_digest(file)) == file_digest(file)
    assert not (folder / "cache" / ("0" * 64)).exists()


def test_loads_no_file_that_is_damaged_or_missing(
    device: Address, folder: Path, tmp_path: Path
) -> None:
    sha256 = send_file(device, _file(tmp_path / "a.so", 100))
    (folder / "cache" / sha256).write_bytes(b"x" * 100)
    with connect(device, deadline_s=20) as session:
        for complaint in ("was damaged and is removed; send it again", "send it first"):
            with (
                pytest.raises(DeviceError, match=f"loading: .*{sha256}.* {complaint}"),
                session.deadline(10, "loading"),
            ):
                session.load_module(f"{sha256}.so")
        assert session.alive


def test_no_such_file(device: Address, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"nothing\.so cannot be sent"):
        send_file(device, tmp_path / "nothing.so")


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = Address(*unused.getsockname())
    with pytest.raises(DeviceError, match=f"could not be sent to device {address} .*refused"):
        send_file(address, _file(tmp_path / "a.so", 1))


def test_does_not_wait_for_a_server_that_says_nothing(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(DeviceError, match="timed out"),
    ):
        send_file(Address(*silent.getsockname()), _file(tmp_path / "a.so", 1), deadline_s=0.2)
