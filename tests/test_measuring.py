"""Measuring a network on two real device servers on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from jointdnn_tvm import group_library, library_shelf, measuring, passes
from jointdnn_tvm.cost import spread
from jointdnn_tvm.cost.codec_times import codec_workloads
from jointdnn_tvm.cost.database import CostDatabase, Energy, Measurement
from jointdnn_tvm.cost.device import Device
from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.devices import Devices
from jointdnn_tvm.errors import BuildError, DeviceError
from jointdnn_tvm.graph import Placement, split_into_stages, stage_key, whole_network
from jointdnn_tvm.library_shelf import LibraryShelf
from jointdnn_tvm.measuring import measure, measure_stages, what_to_time
from jointdnn_tvm.network import Network
from jointdnn_tvm.placement import SIDES
from jointdnn_tvm.runtime.remote import RemoteSession
from jointdnn_tvm.targets import load_target
from tests import fake_sensors
from tests.deployment import device_server, running
from tests.tiny_models import interleaved


@pytest.fixture(scope="module")
def devices() -> Iterator[Devices]:
    with LoopbackLab() as lab:
        yield Devices(str(lab.tracker))


TRANSFER = Transfer(1e-3, 2e-8, 3e-8, 1e9, 1e9)


@pytest.fixture(autouse=True)
def _crossings(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take seconds to time; `test_probing` is about that."""
    monkeypatch.setattr(measuring, "find_transfer", lambda devices, database: TRANSFER)


def test_every_group_gets_a_time_and_nothing_is_measured_twice(
    branching: Network, devices: Devices, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []

    def report(what: str, done: int, total: int) -> None:
        told.append((what, done, total))

    keys = set(what_to_time(branching.graph))
    first = measure(branching, devices=devices, database=tmp_path / "costs", progress=report)
    assert first.on_mobile.keys() == first.on_cloud.keys() == keys
    assert all(m.latency_s and m.latency_s > 0 for m in first.on_mobile.values())
    assert all(m.source == "measured:time_evaluator" for m in first.on_cloud.values())
    # Both sides are this machine without a slowdown: what one has measured, the other knows.
    assert first.measured == len(keys)
    assert first.codecs_on_mobile == first.codecs_on_cloud
    assert first.codecs_on_mobile.keys() == set(codec_workloads())
    assert first.lacks_codecs is None
    assert ("measuring on the mobile device", len(keys), len(keys)) in told

    second = measure(branching, devices=devices, database=tmp_path / "costs")
    assert second.measured == 0
    assert second.on_mobile == first.on_mobile
    assert second.codecs_on_mobile == first.codecs_on_mobile
    assert second.transfer == TRANSFER


def test_crossings_that_cannot_be_timed_are_doubted(
    branching: Network, devices: Devices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(devices: Devices, database: CostDatabase) -> Transfer:
        raise DeviceError("it has no Python")

    monkeypatch.setattr(measuring, "find_transfer", fail)
    costs = measure(branching, devices=devices, database=tmp_path / "costs")
    assert costs.transfer is None
    assert "crossings are taken to cost the link's time only: it has no Python" in costs.doubts
    stray = replace(TRANSFER, error=0.25)
    monkeypatch.setattr(measuring, "find_transfer", lambda devices, database: stray)
    costs = measure(branching, devices=devices, database=tmp_path / "costs")
    assert costs.transfer == stray
    assert "messages between the devices took 25% more or less than" in str(costs.doubts)


def test_other_passes_are_measured_anew(
    branching: Network, devices: Devices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(branching, devices=devices, database=tmp_path / "costs")
    monkeypatch.setattr(measuring, "passes_digest", lambda: "other passes")
    again = measure(branching, devices=devices, database=tmp_path / "costs")
    assert again.measured == len(what_to_time(branching.graph))


def test_every_pass_counts_for_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = tmp_path / "kernels" / "rule.py"
    rule.parent.mkdir()
    monkeypatch.setattr(passes, "__path__", [str(tmp_path)])
    digests = set()
    for text in ("one", "other"):
        rule.write_text(text)
        digests.add(measuring.passes_digest.__wrapped__())
    assert len(digests) == 2


def test_what_does_not_build_is_a_fact(
    branching: Network, devices: Devices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = branching.graph.groups[0].key
    real = group_library.build_group_libraries

    def build(network, keys, *others):  # type: ignore[no-untyped-def]
        libraries, failures = real(network, [k for k in keys if k != bad], *others)
        return libraries, {**failures, bad: "it does not build"}

    monkeypatch.setattr(library_shelf, "build_group_libraries", build)
    costs = measure(branching, devices=devices, database=tmp_path / "costs")
    assert costs.on_mobile[bad].latency_s is None
    assert costs.on_mobile[bad].reason == "it does not build"
    assert sum(m.latency_s is None for m in costs.on_cloud.values()) == 1


def test_the_whole_network_is_one_more_workload(
    branching: Network, devices: Devices, tmp_path: Path
) -> None:
    graph = branching.graph
    whole = stage_key(graph, whole_network(graph))
    assert what_to_time(graph) == [*dict.fromkeys(g.key for g in graph.groups), whole]
    assert what_to_time(replace(graph, groups=graph.groups[:1])) == [graph.groups[0].key]
    costs = measure(branching, devices=devices, database=tmp_path / "costs")
    whole_s = costs.on_cloud[whole].latency_s
    parts_s = [costs.on_cloud[g.key].latency_s or 0.0 for g in graph.groups]
    assert whole_s is not None
    assert costs.correction(graph, "cloud") == pytest.approx(whole_s / sum(parts_s))


def test_a_whole_network_that_does_not_build_corrects_nothing(
    branching: Network, devices: Devices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BuildError("it is too long")

    monkeypatch.setattr(library_shelf, "build_stage", refuse)
    costs = measure(branching, devices=devices, database=tmp_path / "costs")
    graph = branching.graph
    assert costs.on_cloud[stage_key(graph, whole_network(graph))].reason == "it is too long"
    assert costs.correction(graph, "cloud") == 1


def test_stages_of_a_placement_are_measured_once(
    branching: Network, devices: Devices, tmp_path: Path
) -> None:
    graph, placement = branching.graph, interleaved(branching)
    costs = measure(branching, devices=devices, database=tmp_path / "costs")
    more = partial(measure_stages, branching, devices=devices, database=tmp_path / "costs")
    found = more(placement, costs)
    long = [s for s in split_into_stages(graph, placement) if len(s.groups) > 1]
    assert long
    for stage in long:
        on_side = found.on_mobile if stage.side == "mobile" else found.on_cloud
        assert on_side[stage_key(graph, stage)].latency_s
    distinct = {(s.side, stage_key(graph, s)) for s in long}
    assert found.measured - costs.measured == len(distinct)
    assert more(placement, found) is found
    again = more(placement, costs)  # from the database
    assert again.measured == costs.measured
    assert again.on_cloud == found.on_cloud
    one_sided: Placement = {name: "mobile" for name in placement}
    assert more(one_sided, costs) is costs


def test_a_device_for_another_target_is_refused(
    branching: Network, devices: Devices, tmp_path: Path
) -> None:
    with pytest.raises(DeviceError, match="started for target host, not raspberry-pi-4"):
        measure(branching, mobile="raspberry-pi-4", devices=devices, database=tmp_path / "costs")


def test_another_machine_needs_a_tracker(branching: Network, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="jointdnn device --key cloud --target jetson-tx2"):
        measure(branching, cloud="jetson-tx2", database=tmp_path / "costs")


def test_energy_is_measured_once_there_is_a_sensor(branching: Network, tmp_path: Path) -> None:
    costs = tmp_path / "costs"
    with running("tracker", "--port", "0") as (_, tracker), ExitStack() as stack:
        for side in SIDES:
            words = ("--tracker", str(tracker), "--key", side, "--sensors", str(tmp_path / side))
            stack.enter_context(device_server(tmp_path, *words))
        devices = Devices(str(tracker))
        without = measure(branching, devices=devices, database=costs)
        files = [fake_sensors.jetson(tmp_path / side) for side in SIDES]
        fake_sensors.write(files[0], curr1_input="n/a")
        unusable = measure(branching, devices=devices, database=costs)
        fake_sensors.write(files[0], curr1_input=1000)
        measured = measure(branching, devices=devices, database=costs)
        again = measure(branching, devices=devices, database=costs)
    assert again.measured == 0
    assert all(m.energy is None for m in without.on_mobile.values())
    assert unusable.measured == 0
    assert measured.measured == without.measured
    for measurement in measured.on_mobile.values():
        assert measurement.energy is not None
        assert measurement.energy.source == "measured:ina3221 VDD_IN"
        assert "not above its 5 W when idle" in str(measurement.energy.reason)  # it is a constant


def test_a_device_that_changed_is_doubted(
    branching: Network, devices: Devices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = spread.measure_on_all

    def changed(*arguments):  # type: ignore[no-untyped-def]
        real(*arguments)
        return 0.25

    monkeypatch.setattr(measuring, "measure_on_all", changed)
    costs = measure(branching, devices=devices, database=tmp_path / "costs")
    assert "the mobile device got 25% slower while it was measured: it is hot or busy" in str(
        costs.doubts
    )
    shaky = sum(not m.steady for m in costs.on_mobile.values())
    said = f"of {len(costs.on_mobile)} medians on the mobile device, {shaky} are not known"
    assert (said in str(costs.doubts)) == (shaky > 0)


def test_what_is_known_of_several_devices(
    branching: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three devices: without a sensor, with one that does not work, and with one that does."""
    sessions = {cast(RemoteSession, name): Device(name) for name in ("without", "broken", "works")}
    monkeypatch.setattr(measuring, "has_sensor", lambda session, kind: session == "works")
    timed = Measurement(1.0, 0.0, 6, None, "measured", 0.0)
    told = replace(timed, energy=Energy(1.0, 2.0, 1.1, 110, None, "measured:fake"))
    untold = replace(timed, energy=Energy.failure("it is gone", "measured:fake"))
    failed = Measurement.failure("no memory", "measured")
    stored = {
        "without": {"a": timed, "b": timed, "d": timed, "f": failed},
        "broken": {"a": untold, "b": told},
        "works": {"a": told, "c": untold, "d": timed, "e": failed},
    }
    shelf = LibraryShelf(
        branching,
        {g.name: "mobile" for g in branching.graph.groups},
        tmp_path,
        lambda what, done, total: None,
    )
    with CostDatabase.open(tmp_path / "costs") as costs:
        bench = measuring._Bench(
            "mobile", load_target("host"), Devices("127.0.0.1:9"), costs, shelf, shelf._report
        )
        for name, of_device in stored.items():
            for key, measurement in of_device.items():
                costs.put(bench._cost_key(key, Device(name)), measurement)
        known = bench._known("abcdef", sessions)
        on_cloud = replace(bench, side="cloud")._known("abcdef", sessions)
    # what lacks energy on the device that can tell it, as c does, is measured again
    assert known == {"a": told, "b": told, "d": timed, "e": failed, "f": failed}
    assert on_cloud == {**known, "c": untold}
