"""Several devices that share the work; two servers of this machine stand for two hosts."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from jointdnn_tvm import devices as devices_module
from jointdnn_tvm.cost import bench, spread
from jointdnn_tvm.cost.bench import Workload
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.device import Device, describe_device
from jointdnn_tvm.cost.measure import Batch
from jointdnn_tvm.cost.spread import measure_on_all
from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.devices import Devices
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession
from tests.deployment import device_server, running
from tests.measurable import NAP, PRODUCT, QUICK, build_library


def by_port(session: RemoteSession) -> Device:
    """As if every server were on a host of its own."""
    device = describe_device(session)
    host = f"host {session.address.port}"
    return replace(device, identity=f"{device.identity} {host}", host=host)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (devices_module, spread, bench):
        monkeypatch.setattr(module, "describe_device", by_port)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Devices, list[ServerProcess]]]:
    """A tracker and two devices with one key."""
    with ExitStack() as stack:
        _, tracker = stack.enter_context(running("tracker", "--port", "0"))
        servers = []
        for name in "ab":
            folder = tmp_path / name
            folder.mkdir()
            words = ("--tracker", str(tracker), "--key", "phone")
            servers.append(stack.enter_context(device_server(folder, *words))[0])
        yield Devices(str(tracker), mobile_key="phone", timeout_s=8), servers


def naps(library: Path, count: int, a_batch: int = 2) -> list[Batch]:
    workloads = [replace(NAP, key=f"nap {n}") for n in range(count)]
    return [Batch(library, workloads[i : i + a_batch]) for i in range(0, count, a_batch)]


Recorder = Callable[[Workload, Measurement, Device], None]


def counting(counts: Counter[str], hosts: Counter[str], then: Callable[[], None]) -> Recorder:
    def record(workload: Workload, measurement: Measurement, device: Device) -> None:
        assert measurement.reason is None
        counts[workload.key] += 1
        hosts[device.host] += 1
        then()

    return record


def nothing() -> None:
    """Do nothing."""


@pytest.mark.usefixtures("apart")
def test_two_devices_share_the_work(
    pair: tuple[Devices, list[ServerProcess]], tmp_path: Path
) -> None:
    devices, _ = pair
    counts, hosts = Counter[str](), Counter[str]()
    sessions = list(devices.request_all("mobile"))
    assert len(sessions) == 2
    batches = naps(build_library(tmp_path), 12)
    record = counting(counts, hosts, nothing)
    measure_on_all(batches, sessions, partial(devices.request, "mobile"), "cpu", record, QUICK)
    assert counts == {f"nap {n}": 1 for n in range(12)}
    assert len(hosts) == 2
    assert min(hosts.values()) >= 4
    assert not any(session.alive for session in sessions)


@pytest.mark.usefixtures("apart")
def test_a_lost_device_leaves_its_work_to_the_other(
    pair: tuple[Devices, list[ServerProcess]], tmp_path: Path
) -> None:
    devices, servers = pair
    devices = replace(devices, timeout_s=3)
    counts, hosts = Counter[str](), Counter[str]()
    sessions = list(devices.request_all("mobile"))

    def lose() -> None:
        if sum(counts.values()) == 3:
            servers[0].close()

    batches = naps(build_library(tmp_path), 12)
    record = counting(counts, hosts, lose)
    measure_on_all(batches, sessions, partial(devices.request, "mobile"), "cpu", record, QUICK)
    assert counts == {f"nap {n}": 1 for n in range(12)}


@pytest.mark.usefixtures("apart")
def test_when_all_are_lost_it_says_so(
    pair: tuple[Devices, list[ServerProcess]], tmp_path: Path
) -> None:
    devices, servers = pair
    devices = replace(devices, timeout_s=2)
    counts, hosts = Counter[str](), Counter[str]()

    def lose() -> None:
        if sum(counts.values()) == 3:
            for server in servers:
                server.close()

    batches = naps(build_library(tmp_path), 12)
    sessions = list(devices.request_all("mobile"))
    record = counting(counts, hosts, lose)
    with pytest.raises(DeviceError, match="key 'phone'"):
        measure_on_all(batches, sessions, partial(devices.request, "mobile"), "cpu", record, QUICK)
    assert 3 <= sum(counts.values()) < 12
    assert max(counts.values()) == 1


@pytest.mark.usefixtures("apart")
def test_an_error_of_the_record_ends_all(
    pair: tuple[Devices, list[ServerProcess]], tmp_path: Path
) -> None:
    devices, _ = pair
    counts, hosts = Counter[str](), Counter[str]()

    def full() -> None:
        raise OSError("no space left on device")

    sessions = list(devices.request_all("mobile"))
    batches = naps(build_library(tmp_path), 40)
    record = counting(counts, hosts, full)
    with pytest.raises(OSError, match="no space left"):
        measure_on_all(batches, sessions, partial(devices.request, "mobile"), "cpu", record, QUICK)
    assert sum(counts.values()) <= 2
    assert not any(session.alive for session in sessions)
    assert {t.name for t in threading.enumerate() if t.name.startswith("measuring")} == set()


def test_two_devices_of_one_host_are_one(
    pair: tuple[Devices, list[ServerProcess]], tmp_path: Path
) -> None:
    devices, _ = pair
    counts, hosts = Counter[str](), Counter[str]()
    sessions = list(devices.request_all("mobile"))
    assert len(sessions) == 1
    batches = [Batch(build_library(tmp_path), [PRODUCT])]
    record = counting(counts, hosts, nothing)
    measure_on_all(batches, sessions, partial(devices.request, "mobile"), "cpu", record, QUICK)
    assert counts == {"product": 1}


@pytest.mark.usefixtures("apart")
def test_an_interrupt_ends_all_at_once(
    pair: tuple[Devices, list[ServerProcess]], tmp_path: Path
) -> None:
    devices, _ = pair
    counts, hosts = Counter[str](), Counter[str]()

    def interrupt() -> None:
        if sum(counts.values()) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    sessions = list(devices.request_all("mobile"))
    batches = naps(build_library(tmp_path), 200)
    record = counting(counts, hosts, interrupt)
    with pytest.raises(KeyboardInterrupt):
        measure_on_all(batches, sessions, partial(devices.request, "mobile"), "cpu", record, QUICK)
    assert 3 <= sum(counts.values()) < 100
    assert not any(session.alive for session in sessions)
