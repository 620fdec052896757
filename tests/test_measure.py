"""Timing a list of functions on a real device server, come what may."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm.runtime.vm import VirtualMachine

from jointdnn_tvm.cost.bench import Bench, EvaluatorConfig, Workload
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.device import SOURCE, Device
from jointdnn_tvm.cost.measure import Batch, Reference, Weighty, measure
from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.errors import CostError, DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.file_transfer import send_file
from jointdnn_tvm.runtime.remote import RemoteSession, connect
from tests.deployment import DeviceServerKind, children, device_server
from tests.measurable import CRASH, MISFIT, MISSING, NAP, PICK, PRODUCT, QUICK, build_library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def device(
    serve_device: DeviceServerKind, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, Address]]:
    with serve_device(tmp_path_factory.mktemp("device")) as device:
        yield device


def _measure(
    workloads: Sequence[Workload], library: Path, address: Address, deadline_s: float = 60
) -> dict[str, Measurement]:
    found: dict[str, Measurement] = {}

    def record(workload: Workload, measurement: Measurement, _: Device) -> None:
        assert workload.key not in found
        found[workload.key] = measurement

    open_session = partial(connect, address, deadline_s=20)
    measure([Batch(library, workloads)], open_session, "cpu", record, QUICK, deadline_s)
    return found


def test_times_what_runs(device: tuple[ServerProcess, Address], library: Path) -> None:
    found = _measure([PRODUCT, PICK, NAP], library, device[1])
    for measurement in found.values():
        assert measurement.reason is None
        assert measurement.repeats == 3
        assert measurement.source == SOURCE
    assert found["product"].latency_s is not None
    assert 0 < found["product"].latency_s < 0.01
    assert found["nap"].latency_s == pytest.approx(0.1, rel=0.2)


def test_loads_what_lies_in_the_cache(device: tuple[ServerProcess, Address], library: Path) -> None:
    sha256 = send_file(device[1], library)
    with connect(device[1], deadline_s=20) as session, session.deadline(60, "computing"):
        machine = VirtualMachine(session.load_module(f"{sha256}.so"), session.device())
        inputs = [np.full((16, 16), x, "float32") for x in (2, 3)]
        machine.set_input("product", *[tvm.runtime.tensor(x, session.device()) for x in inputs])
        machine.invoke_stateful("product")
        np.testing.assert_array_equal(machine.get_outputs("product").numpy(), 96)


def test_a_failure_is_a_result(device: tuple[ServerProcess, Address], library: Path) -> None:
    found = _measure([MISSING, MISFIT, CRASH, PRODUCT], library, device[1])
    assert list(found) == ["missing", "misfit", "crash", "product"]
    assert found["missing"].reason == "Unknown function: missing"
    assert "shape" in str(found["misfit"].reason)
    assert "was lost while measuring crash" in str(found["crash"].reason)
    assert found["crash"].latency_s is None
    assert found["product"].reason is None


def test_too_slow_is_a_failure(device: tuple[ServerProcess, Address], library: Path) -> None:
    found = _measure([NAP, PRODUCT], library, device[1], deadline_s=0.3)
    assert "did not answer within 0.3 s while measuring nap" in str(found["nap"].reason)
    assert found["product"].reason is None


def test_a_session_that_dies_once_is_not_the_workload_s_fault(
    device: tuple[ServerProcess, Address], library: Path
) -> None:
    opened: list[RemoteSession] = []

    def open_session() -> RemoteSession:
        session = connect(device[1], deadline_s=20)
        if not opened:
            (pid,) = children(device[0].pid)
            threading.Timer(0.4, os.kill, (pid, signal.SIGKILL)).start()
        opened.append(session)
        return session

    found: list[Measurement] = []
    measure([Batch(library, [NAP])], open_session, "cpu", lambda _, m, d: found.append(m), QUICK)
    assert len(opened) == 2
    assert found[0].reason is None


def test_a_device_that_is_gone_is_not_a_result(tmp_path: Path, library: Path) -> None:
    found: list[Measurement] = []
    with device_server(tmp_path) as (server, address):

        def record(_: Workload, measurement: Measurement, device: Device) -> None:
            found.append(measurement)
            server.close()

        batch = Batch(library, [PRODUCT, PICK])
        with pytest.raises(DeviceError, match="nobody listens"):
            measure([batch], partial(connect, address), "cpu", record, QUICK)
    assert len(found) == 1


def test_a_library_for_another_machine(
    device: tuple[ServerProcess, Address], tmp_path: Path
) -> None:
    path = tmp_path / "groups.so"
    path.write_bytes(b"\x7fELF, or so it says")
    with pytest.raises(CostError, match=r"does not load on the device.*check that the target"):
        _measure([PRODUCT], path, device[1])


def test_a_flushed_cache_takes_longer(device: tuple[ServerProcess, Address], library: Path) -> None:
    found: dict[bool, Measurement] = {}
    for flush in (False, True):
        config = EvaluatorConfig(
            number=5, repeat=21, max_repeat=21, min_repeat_ms=0, enable_cpu_cache_flush=flush
        )
        open_session = partial(connect, device[1], deadline_s=20)

        bench = Bench(open_session, "cpu", config)
        found[flush] = bench.measure(library, PRODUCT, 60)
        bench.close()
    warm, cold = (found[flush].latency_s for flush in (False, True))
    assert warm is not None
    assert cold is not None
    assert warm < cold < 0.05


def test_a_type_that_cannot_be_sent(device: tuple[ServerProcess, Address], library: Path) -> None:
    odd = Workload("odd", "product", (((16, 16), "no_such_type"),))
    found = _measure([odd, PRODUCT], library, device[1])
    assert found["odd"].latency_s is None
    assert found["product"].reason is None


def steady(latency_s: float) -> Measurement:
    return Measurement(latency_s, 0.0, 6, None, SOURCE, 0.0)


class ScriptedBench(Bench):
    """A device that takes these seconds one after the other; None ends the session."""

    def __init__(self, *times: float | None) -> None:
        self.device = Device("phone")
        self.times = list(times)
        self.lost = False

    @property
    def alive(self) -> bool:
        return not self.lost

    def reopen(self) -> None:
        self.lost = False

    def time(self, library: Path, workload: Workload, deadline_s: float) -> Measurement:
        latency_s = self.times.pop(0)
        self.lost = latency_s is None
        return steady(latency_s) if latency_s else Measurement.failure("lost", SOURCE)


def drift(bench: ScriptedBench, checks: int, first: Measurement | None = None) -> float:
    reference = Reference()
    reference.offer(bench.device, Path("groups.so"), PRODUCT, first or steady(1.0))
    for _ in range(checks):
        reference.offer(bench.device, Path("groups.so"), PICK, steady(9.0))
        reference.check(bench, 60)
    assert bench.times == []
    assert bench.alive
    return reference.drift


def test_a_device_that_changes_is_noticed() -> None:
    assert drift(ScriptedBench(1.0, 1.04, 0.97), 3) == 0
    # slower each time it is asked, so it counts; by the least that was seen
    assert drift(ScriptedBench(1.0, 1.3, 1.2), 2) == pytest.approx(0.2)
    assert drift(ScriptedBench(0.5, 0.6), 1) == pytest.approx(-0.4)


def test_a_hiccup_is_no_change() -> None:
    assert drift(ScriptedBench(3.0, 1.01), 1) == 0
    assert drift(ScriptedBench(3.0, 0.99, 1.0), 2) == 0


def test_a_device_lost_at_a_check_is_opened_again() -> None:
    assert drift(ScriptedBench(1.0, None, 1.0), 3) == 0


@pytest.mark.parametrize("batches", range(4))
def test_what_is_weighty_is_a_median_of_times_apart(batches: int) -> None:
    bench = ScriptedBench(1.0, 2.0, *([2.1, 2.2] if batches == 3 else []))
    weighty = Weighty(Path("whole.so"), PRODUCT, bench.device, steady(3.0))
    for _ in range(batches):
        weighty.time_again(bench, 60)
    latency_s = 2.1 if batches == 3 else 2.0
    assert weighty.measurement(bench, 60).latency_s == latency_s
    assert bench.times == []


def test_another_device_does_not_time_what_is_weighty() -> None:
    weighty = Weighty(Path("whole.so"), PRODUCT, Device("other phone"), steady(3.0))
    assert weighty.measurement(ScriptedBench(), 60) == steady(3.0)


def test_weighty_workloads_are_handed_over_once(
    device: tuple[ServerProcess, Address], library: Path
) -> None:
    found = _measure([replace(PRODUCT, weighty=True), NAP], library, device[1])
    assert found["product"].repeats >= 10
    assert found["nap"].reason is None


def test_what_is_not_steady_is_no_reference() -> None:
    shaky = Measurement(1.0, 0.5, 16, None, SOURCE, 0.5)
    reference = Reference()
    for first in (shaky, Measurement.failure("no memory", SOURCE)):
        reference.offer(Device("phone"), Path("groups.so"), PRODUCT, first)
    reference.check(ScriptedBench(), 60)
    assert reference.drift == 0


def test_another_device_gets_another_reference() -> None:
    bench = ScriptedBench(5.1)
    reference = Reference()
    reference.offer(Device("other phone"), Path("groups.so"), PRODUCT, steady(1.0))
    reference.check(bench, 60)
    reference.offer(bench.device, Path("groups.so"), PRODUCT, steady(5.0))
    reference.check(bench, 60)
    assert (reference.drift, bench.times) == (0, [])


def test_a_device_lost_while_a_library_is_sent_is_opened_again(
    device: tuple[ServerProcess, Address], library: Path
) -> None:
    class Dying(RemoteSession):
        def upload(self, data: bytes, name: str) -> None:
            (pid,) = children(device[0].pid)
            os.kill(pid, signal.SIGKILL)
            super().upload(data, name)

    opened: list[RemoteSession] = []

    def open_session() -> RemoteSession:
        session = connect(device[1], deadline_s=20)
        if not opened:
            session.__class__ = Dying
        opened.append(session)
        return session

    bench = Bench(open_session, "cpu", QUICK)
    assert bench.measure(library, PRODUCT, 60).reason is None
    assert len(opened) == 2
    bench.close()


def test_a_device_of_another_kind_is_no_replacement(
    device: tuple[ServerProcess, Address],
) -> None:
    bench = Bench(partial(connect, device[1], deadline_s=20), "cpu", QUICK)
    bench.device = Device("was here", kind="another kind")
    with pytest.raises(DeviceError, match=r"one of another kind.*its own key"):
        bench.reopen()
    assert not bench.alive
