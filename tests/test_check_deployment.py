"""What `jointdnn doctor` says of a tracker and its devices, well and otherwise."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jointdnn_tvm.deploy.registration import Registration
from jointdnn_tvm.doctor import check_deployment as module
from jointdnn_tvm.doctor.check_deployment import check_deployment, check_device
from jointdnn_tvm.doctor.finding import Finding
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.remote import connect
from jointdnn_tvm.runtime.tracker_client import tracker_summary
from tests import fake_sensors
from tests.deployment import DeviceServerKind, device_server, eventually, running
from tests.native_programs import native_device_server

NOWHERE = Address("127.0.0.1", 9)


def look(tracker: Address, deadline_s: float = 20.0) -> list[Finding]:
    findings = list(check_deployment(tracker, deadline_s, lambda what, done, total: None))
    json.dumps([f.to_json() for f in findings])
    assert all("\n" not in f.text for f in findings)
    return findings


@contextmanager
def silent_server() -> Iterator[Address]:
    """It accepts, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield Address(*silent.getsockname())


@pytest.fixture(scope="module")
def tracker() -> Iterator[Address]:
    with running("tracker", "--port", "0") as (_, address):
        yield address


@contextmanager
def registered(tracker: Address, key: str, port: int) -> Iterator[None]:
    registration = Registration(tracker, key, port)
    registration.open()
    registration.renew()
    try:
        yield
    finally:
        registration.close()


def test_a_tracker_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = Address(*unused.getsockname())
    (found,) = look(address)
    assert found.status == "failure"
    assert found.about == f"tracker {address}"
    assert "start one with `jointdnn tracker" in found.text


def test_a_tracker_that_says_nothing() -> None:
    with silent_server() as address:
        (found,) = look(address, 0.2)
    assert found.status == "failure"
    assert "is not a TVM RPC tracker" in found.text


def test_a_tracker_without_devices(tracker: Address) -> None:
    (found,) = look(tracker)
    assert found.status == "warning"
    assert f"jointdnn device --tracker {tracker}" in found.text


def test_a_device_that_is_well(
    tracker: Address, serve_device: DeviceServerKind, tmp_path: Path
) -> None:
    words = ("--tracker", str(tracker), "--key", "phone", "--target", "raspberry-pi-4")
    with serve_device(tmp_path, *words) as (_, address):
        known, link, identity, sensor = look(tracker)
    assert {known.status, link.status, identity.status, sensor.status} == {"ok"}
    assert known.facts["keys"] == {"phone": 1}
    assert link.about == f"device phone {address}: link"
    assert link.facts["rtt_s"] > 0
    assert min(link.facts["uplink_bps"], link.facts["downlink_bps"]) > 1e6
    assert identity.facts["target"] == "raspberry-pi-4"
    assert "energy is modelled" in sensor.text
    assert sensor.facts["sensor"] is None


def test_one_that_registers_and_stays_silent(tracker: Address, tmp_path: Path) -> None:
    words = ("--tracker", str(tracker), "--key", "phone")
    with (
        silent_server() as silent,
        registered(tracker, "dead", silent.port),
        device_server(tmp_path, *words),
    ):
        known, link, session, *others = look(tracker, 1.0)
    assert known.facts["keys"] == {"dead": 1, "phone": 1}
    assert (link.status, session.status) == ("warning", "failure")
    assert "no answer" in link.text
    assert "did not open a session within 1 s" in session.text
    assert {f.status for f in others} == {"ok"}  # and the next one is looked at all the same


def test_one_that_is_gone(tracker: Address) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with registered(tracker, "gone", port):
        _, link, session = look(tracker, 1.0)
    assert (link.status, session.status) == ("warning", "failure")
    assert "nobody listens there" in session.text


@contextmanager
def tvms_own_server(tracker: Address, key: str) -> Iterator[Address]:
    """In a process group of its own, as what it starts may outlive it."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = Address(*unused.getsockname())
    words = ["--host", address.host, "--port", str(address.port), "--key", key]
    words += ["--port-end", str(address.port + 1), "--tracker", str(tracker), "--silent"]
    command = [sys.executable, "-m", "tvm.exec.rpc_server", *words]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as server:
        try:
            assert eventually(lambda: tracker_summary(tracker)["server_info"], 60)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def test_tvms_own_server(tracker: Address) -> None:
    with tvms_own_server(tracker, "stock") as address:
        known, link, identity = look(tracker)
    assert known.facts["keys"] == {"stock": 1}
    assert (link.status, identity.status) == ("warning", "warning")
    assert identity.about == f"device stock {address}"
    assert "start `jointdnn device` there" in identity.text


def test_one_that_somebody_else_uses(serve_device: DeviceServerKind, tmp_path: Path) -> None:
    with (
        serve_device(tmp_path, "--key", "phone") as (_, address),
        connect(address, deadline_s=20),
    ):
        link, session = check_device(NOWHERE, "phone", address, 1.0)
    assert (link.status, session.status) == ("ok", "warning")
    assert "busy" in session.text


def test_another_version_of_tvm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "tvm_version", "0.99")
    with device_server(tmp_path, "--key", "phone") as (_, address):
        _, identity, _ = check_device(NOWHERE, "phone", address, 20)
    assert identity.status == "failure"
    assert identity.text.endswith("pip install apache-tvm==0.99 on the device")


def test_sensors(tmp_path: Path) -> None:
    words = ("--key", "phone", "--sensors", str(tmp_path), "--slowdown", "2")
    with device_server(tmp_path, *words) as (_, address):
        files = fake_sensors.jetson(tmp_path)
        _, identity, found = check_device(NOWHERE, "phone", address, 20)
        fake_sensors.write(files, curr1_input="n/a")
        _, _, broken = check_device(NOWHERE, "phone", address, 20)
    assert "EMULATED 2x slower" in identity.text
    assert identity.facts["emulated"] is True
    assert (found.status, found.text) == ("ok", "ina3221 VDD_IN")
    assert found.facts["window_s"] == 1
    assert broken.status == "warning"
    assert "not a number; check its driver" in broken.text


def test_a_server_without_sensors(tmp_path: Path) -> None:
    with native_device_server()(tmp_path, "--key", "phone") as (_, address):
        _, _, sensor = check_device(NOWHERE, "phone", address, 20)
    assert (sensor.status, sensor.text) == (
        "ok",
        "this device server reads none; energy is modelled",
    )
