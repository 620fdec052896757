import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import tvm
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from jointdnn_tvm.cost.database import Measurement
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
from jointdnn_tvm.runtime.remote import RemoteSession, connect
from tests.deployment import children, device_server

QUICK = EvaluatorConfig(number=1, repeat=3, min_repeat_ms=1, max_repeat=3)
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
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Address]]:
    with device_server(tmp_path_factory.mktemp("device")) as device:
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
    assert Device("phone").shortest_repeat_ms == 10


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
