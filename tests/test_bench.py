"""The summary of repeats, and energy beside time; `test_measure` times what fails, too."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import tvm
from tvm.runtime.vm import VirtualMachine

from jointdnn_tvm.cost.bench import Bench, EvaluatorConfig, Workload, summarise
from jointdnn_tvm.cost.database import Energy, Measurement
from jointdnn_tvm.cost.energy import RemoteMeter
from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.remote import connect
from tests import fake_sensors
from tests.deployment import children, device_server
from tests.measurable import PRODUCT, QUICK, build_library

WITH_ENERGY = replace(QUICK, enable_energy=True)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("library"))


def test_summary_is_the_median_and_the_middle_half() -> None:
    summary = summarise([1.0, 2.0, 3.0, 4.0, 100.0], "s")
    assert summary == Measurement(3.0, 2.0, 5, None, "s")
    assert summarise([2.0], "s") == Measurement(2.0, 0.0, 1, None, "s")
    assert "clock" in str(summarise([0.0, 1.0], "s").reason)


def test_summary_has_the_interval_of_the_median() -> None:
    assert summarise([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "s").interval_s == 2.5
    assert summarise([1.0] * 6, "s").steady


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


def _measured(
    library: Path, address: Address, config: EvaluatorConfig, workload: Workload = PRODUCT
) -> Measurement:
    with closing(Bench(partial(connect, address, deadline_s=20), "cpu", config)) as bench:
        found = bench.measure(library, workload, 60)
    assert found.latency_s is not None
    return found


def test_energy_beside_time(tmp_path: Path, library: Path) -> None:
    with (
        device_server(tmp_path, "--sensors", str(tmp_path)) as (server, address),
        processor(tmp_path, server, idle_w=3.0, work_w=5.0),
    ):
        found = _measured(library, address, WITH_ENERGY)
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


def test_what_others_rest_on_is_timed_for_longer(tmp_path: Path, library: Path) -> None:
    with device_server(tmp_path) as (_, address):
        assert _measured(library, address, QUICK).repeats == QUICK.repeat
        weighty = replace(PRODUCT, weighty=True)
        assert _measured(library, address, QUICK, weighty).repeats >= 10


def test_no_energy_where_nobody_asks_or_nothing_is(tmp_path: Path, library: Path) -> None:
    with device_server(tmp_path, "--sensors", str(tmp_path)) as (_, address):
        assert _measured(library, address, WITH_ENERGY).energy is None
        fake_sensors.jetson(tmp_path)
        assert _measured(library, address, QUICK).energy is None


def test_why_there_is_no_energy(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fake_sensors.jetson(tmp_path)
    with device_server(tmp_path, "--sensors", str(tmp_path)) as (_, address):
        constant = _measured(library, address, WITH_ENERGY).energy
        fake_sensors.write(files, curr1_input="n/a")
        unusable = _measured(library, address, WITH_ENERGY).energy
        fake_sensors.write(files, curr1_input=1000)

        real = RemoteMeter.measure

        def vanishing(
            meter: RemoteMeter, run: Callable[[int], int], latency_s: float, deadline_s: float
        ) -> Energy:
            def run_as_it_goes(number: int) -> int:
                (files / "curr1_input").unlink(missing_ok=True)  # it may run more than once
                return run(number)

            return real(meter, run_as_it_goes, latency_s, deadline_s)

        monkeypatch.setattr(RemoteMeter, "measure", vanishing)
        vanished = _measured(library, address, WITH_ENERGY).energy
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
