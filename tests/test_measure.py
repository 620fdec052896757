import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm.runtime.vm import VirtualMachine
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from jointdnn_tvm.cost.database import Energy, Measurement
from jointdnn_tvm.cost.energy import RemoteMeter
from jointdnn_tvm.cost.measure import (
    SOURCE,
    Device,
    EvaluatorConfig,
    Workload,
    describe_device,
    measure,
    summarise,
)
from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.deploy.throttle import period_s
from jointdnn_tvm.errors import CostError, DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.file_transfer import send_file
from jointdnn_tvm.runtime.remote import RemoteSession, connect
from tests import fake_sensors
from tests.deployment import DeviceServerKind, children, device_server

QUICK = EvaluatorConfig(number=1, repeat=3, min_repeat_ms=1)
WITH_ENERGY = EvaluatorConfig(number=1, repeat=3, min_repeat_ms=1, enable_energy=True)
SQUARE = ((16, 16), "float32")


@I.ir_module
class Groups:
    @T.prim_func(private=True, s_tir=True)
    def _abort(x: T.Buffer((4,), "float32"), y: T.Buffer((4,), "float32")) -> None:
        T.evaluate(T.call_extern("int32", "abort"))

    @T.prim_func(private=True, s_tir=True)
    def _nap(x: T.Buffer((4,), "float32"), y: T.Buffer((4,), "float32")) -> None:
        T.evaluate(T.call_extern("int32", "usleep", 100000))

    @R.function
    def product(x: R.Tensor((16, 16), "float32"), w: R.Tensor((16, 16), "float32")) -> R.Tensor(
        (16, 16), "float32"
    ):
        return R.matmul(x, w)

    @R.function
    def pick(x: R.Tensor((16, 16), "float32"), i: R.Tensor((3,), "int64")) -> R.Tensor(
        (3, 16), "float32"
    ):
        return R.take(x, i, axis=0)

    @R.function
    def crash(x: R.Tensor((4,), "float32")) -> R.Tensor((4,), "float32"):
        cls = Groups
        return R.call_tir(cls._abort, (x,), R.Tensor((4,), "float32"))

    @R.function
    def nap(x: R.Tensor((4,), "float32")) -> R.Tensor((4,), "float32"):
        cls = Groups
        return R.call_tir(cls._nap, (x,), R.Tensor((4,), "float32"))


PRODUCT = Workload("product", "product", (SQUARE, SQUARE))
PICK = Workload("pick", "pick", (SQUARE, ((3,), "int64")))
CRASH = Workload("crash", "crash", (((4,), "float32"),))
NAP = Workload("nap", "nap", (((4,), "float32"),))
MISSING = Workload("missing", "missing", ())
MISFIT = Workload("misfit", "product", (SQUARE, ((17, 16), "float32")))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "groups.so"
    tvm.compile(Groups, tvm.target.Target("llvm")).export_library(str(path))
    return path


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

    def record(workload: Workload, measurement: Measurement) -> None:
        assert workload.key not in found
        found[workload.key] = measurement

    open_session = partial(connect, address, deadline_s=20)
    measure(workloads, library, open_session, "cpu", record, QUICK, deadline_s)
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
    measure([NAP], library, open_session, "cpu", lambda _, m: found.append(m), QUICK)
    assert len(opened) == 2
    assert found[0].reason is None


def test_a_device_that_is_gone_is_not_a_result(tmp_path: Path, library: Path) -> None:
    found: list[Measurement] = []
    with device_server(tmp_path) as (server, address):

        def record(_: Workload, measurement: Measurement) -> None:
            found.append(measurement)
            server.close()

        with pytest.raises(DeviceError, match="nobody listens"):
            measure([PRODUCT, PICK], library, partial(connect, address), "cpu", record, QUICK)
    assert len(found) == 1


def test_a_library_for_another_machine(
    device: tuple[ServerProcess, Address], tmp_path: Path
) -> None:
    path = tmp_path / "groups.so"
    path.write_bytes(b"\x7fELF, or so it says")
    with pytest.raises(CostError, match=r"does not load on the device.*check that the target"):
        _measure([PRODUCT], path, device[1])


def test_an_emulated_device_says_so(tmp_path: Path, library: Path) -> None:
    with device_server(tmp_path, "--slowdown", "4") as (_, address):
        with connect(address, deadline_s=20) as session:
            device = describe_device(session)
        found = _measure([PRODUCT], library, address)
    assert device.slowdown == 4
    assert json.loads(device.identity)["slowdown"] == 4
    assert device.source == found["product"].source == f"{SOURCE} emulated slowdown 4x"
    assert device.shortest_repeat_ms >= 2e3 * period_s(4)
    assert Device("phone").shortest_repeat_ms == 20


def test_summary_is_the_median_and_the_middle_half() -> None:
    summary = summarise([1.0, 2.0, 3.0, 4.0, 100.0], "s")
    assert summary == Measurement(3.0, 2.0, 5, None, "s")
    assert summarise([2.0], "s") == Measurement(2.0, 0.0, 1, None, "s")
    assert "clock" in str(summarise([0.0, 1.0], "s").reason)


def test_a_flushed_cache_takes_longer(device: tuple[ServerProcess, Address], library: Path) -> None:
    found: dict[bool, Measurement] = {}
    for flush in (False, True):
        config = EvaluatorConfig(number=5, repeat=5, min_repeat_ms=0, enable_cpu_cache_flush=flush)
        open_session = partial(connect, device[1], deadline_s=20)

        def record(_: Workload, measurement: Measurement, flush: bool = flush) -> None:
            found[flush] = measurement

        measure([PRODUCT], library, open_session, "cpu", record, config)
    warm, cold = (found[flush].latency_s for flush in (False, True))
    assert warm is not None
    assert cold is not None
    assert warm < cold < 0.05


def test_a_type_that_cannot_be_sent(device: tuple[ServerProcess, Address], library: Path) -> None:
    odd = Workload("odd", "product", (((16, 16), "no_such_type"),))
    found = _measure([odd, PRODUCT], library, device[1])
    assert found["odd"].latency_s is None
    assert found["product"].reason is None


@contextmanager
def processor(root: Path, server: ServerProcess, idle_w: float, work_w: float) -> Iterator[None]:
    """A fake counter that follows what a session's process really does: W, and W while it works."""
    (package,) = fake_sensors.rapl(root)
    over = threading.Event()

    def count() -> None:
        begin, worked_ns = time.monotonic(), {0: 0}
        while not over.wait(0.005):
            for pid in children(server.pid):
                stat = Path(f"/proc/{pid}/schedstat")
                if stat.exists():
                    worked_ns[pid] = int(stat.read_text().split()[0])
            joules = idle_w * (time.monotonic() - begin) + work_w * sum(worked_ns.values()) / 1e9
            new = fake_sensors.write(root / "new", energy_uj=round(1e6 * joules)) / "energy_uj"
            new.replace(package / "energy_uj")  # no reader meets half a file

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _with_energy(workloads: Sequence[Workload], library: Path, address: Address) -> Measurement:
    found: list[Measurement] = []
    open_session = partial(connect, address, deadline_s=20)
    measure(workloads, library, open_session, "cpu", lambda _, m: found.append(m), WITH_ENERGY)
    (measurement,) = found
    assert measurement.latency_s is not None
    return measurement


def test_energy_beside_time(tmp_path: Path, library: Path) -> None:
    with (
        device_server(tmp_path, "--sensors", str(tmp_path)) as (server, address),
        processor(tmp_path, server, idle_w=3.0, work_w=5.0),
    ):
        found = _with_energy([PRODUCT], library, address)
    energy = found.energy
    assert energy is not None
    assert energy.reason is None
    assert energy.source == "measured:rapl package"
    assert energy.idle_w == pytest.approx(3.0, rel=0.1)
    assert energy.window_s > 1
    assert energy.samples >= 20
    assert energy.energy_j is not None
    assert found.latency_s is not None
    # On a busy machine a call takes longer than the processor works for it, so this is the most.
    assert 0 < energy.energy_j < 1.5 * 5.0 * found.latency_s


def test_no_energy_where_nobody_asks_or_nothing_is(tmp_path: Path, library: Path) -> None:
    with device_server(tmp_path, "--sensors", str(tmp_path)) as (_, address):
        assert _with_energy([PRODUCT], library, address).energy is None
        fake_sensors.jetson(tmp_path)
        assert _measure([PRODUCT], library, address)["product"].energy is None


def test_why_there_is_no_energy(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fake_sensors.jetson(tmp_path)
    with device_server(tmp_path, "--sensors", str(tmp_path)) as (_, address):
        constant = _with_energy([PRODUCT], library, address).energy
        fake_sensors.write(files, curr1_input="n/a")
        unusable = _with_energy([PRODUCT], library, address).energy
        fake_sensors.write(files, curr1_input=1000)

        real = RemoteMeter.measure

        def vanishing(
            meter: RemoteMeter, run: Callable[[int], int], latency_s: float, deadline_s: float
        ) -> Energy:
            def run_as_it_goes(number: int) -> int:
                (files / "curr1_input").unlink()
                return run(number)

            return real(meter, run_as_it_goes, latency_s, deadline_s)

        monkeypatch.setattr(RemoteMeter, "measure", vanishing)
        vanished = _with_energy([PRODUCT], library, address).energy
    assert constant is not None
    assert "took 5 W at work, not above its 5 W when idle" in str(constant.reason)
    assert unusable is not None
    assert unusable.source == "no sensor that can be used"
    assert "curr1_input says 'n/a', not a number" in str(unusable.reason)
    assert vanished is not None
    assert vanished.source == "measured:ina3221 VDD_IN"
    assert "curr1_input is gone" in str(vanished.reason)


def test_five_watts_for_a_second_while_a_kernel_runs(tmp_path: Path, library: Path) -> None:
    fake_sensors.jetson(tmp_path, millivolts=5000, milliamperes=1000)
    with (
        device_server(tmp_path, "--sensors", str(tmp_path)) as (_, address),
        connect(address, deadline_s=20) as session,
        session.deadline(60, "measuring"),
    ):
        session.upload(library.read_bytes(), "groups.so")
        machine = VirtualMachine(session.load_module("groups.so"), session.device("cpu"))
        tensors = [tvm.runtime.empty((16, 16), "float32", session.device("cpu"))] * 2
        machine.set_input("product", *tensors)
        timer = machine.module.time_evaluator(
            "invoke_stateful", session.device("cpu"), number=1, repeat=1, min_repeat_ms=1000
        )
        session.function("jointdnn.energy_sensor")("cpu")
        session.function("jointdnn.energy_start")()
        timer("product")
        reading = json.loads(session.function("jointdnn.energy_stop")())
    assert reading["seconds"] >= 1
    assert reading["energy_j"] == pytest.approx(5.0 * reading["seconds"], rel=0.02)
    assert reading["samples"] > 20 * reading["seconds"]
