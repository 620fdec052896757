"""The path between two devices: who times it, what is kept, and what is said where none can."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from jointdnn_tvm import probing
from jointdnn_tvm.api import find_path
from jointdnn_tvm.cost.database import CostDatabase
from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.devices import Devices
from jointdnn_tvm.errors import DeviceError, ProfileError
from jointdnn_tvm.probing import find_transfer, probe
from jointdnn_tvm.runtime import link_probe
from jointdnn_tvm.runtime.exchange_times import ExchangeTimes
from jointdnn_tvm.runtime.link_probe import PathTimes
from jointdnn_tvm.runtime.remote import RemoteSession
from jointdnn_tvm.targets import load_link
from tests.deployment import DeviceServerKind, device_server, running
from tests.native_programs import native_device_server

TIMES = PathTimes(
    link=ExchangeTimes(0.02, 8 / 5e6, 8 / 10e6, 0.01),
    messages=ExchangeTimes(0.021, 8 / 5e6 + 1e-7, 8 / 10e6 + 2e-7, 0.01),
)


@pytest.fixture
def devices(lab: LoopbackLab) -> Devices:
    return Devices(str(lab.tracker))


@contextmanager
def deployment(folder: Path, mobile: DeviceServerKind, *words: str) -> Iterator[Devices]:
    """A tracker, a cloud device, and a mobile device of that kind."""
    with running("tracker", "--port", "0") as (_, tracker), ExitStack() as stack:
        found = ("--tracker", str(tracker), "--key")
        stack.enter_context(mobile(folder, *found, "mobile", *words))
        stack.enter_context(device_server(folder, *found, "cloud"))
        yield Devices(str(tracker))


def test_the_mobile_device_times_its_path_to_the_cloud_device(devices: Devices) -> None:
    path = probe(devices)
    assert path.link.name == "probe"
    assert path.link.how.startswith("measured:probe from ")
    assert path.link.how.count("(host)") == 2
    assert path.link.uplink_bps > 1e8  # loopback
    assert path.link.transmit_w == 0
    assert path.transfer is not None
    assert path.transfer.source == "measured:messages"
    assert path.transfer.up_s_per_byte > 0
    assert path.transfer.uplink_bps == path.link.uplink_bps
    json.dumps(path.link.to_json())


def test_one_device_of_both_sides_has_no_path(devices: Devices, tmp_path: Path) -> None:
    """It would wait for itself until its patience ends."""
    alone = replace(devices, mobile_key=devices.cloud_key)
    why = "is both sides' device, without a path to itself"
    with CostDatabase.open(tmp_path / "costs") as database, pytest.raises(DeviceError, match=why):
        find_transfer(alone, database)
    path = probe(alone)
    assert "this machine to" in path.link.how
    assert path.transfer is None


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[PathTimes]:
    """What mobile devices will answer; the last answer stands."""
    answers = [TIMES]
    monkeypatch.setattr(probing._Pair, "time_path", lambda pair: answers[-1])
    return answers


def test_what_crossings_cost_is_measured_once(
    devices: Devices, tmp_path: Path, asked: list[PathTimes]
) -> None:
    with CostDatabase.open(tmp_path / "costs") as database:
        first = find_transfer(devices, database)
        assert first == Transfer.of(TIMES)
        asked.append(replace(TIMES, messages=TIMES.link))
        assert find_transfer(devices, database) == first


def test_what_was_measured_while_something_was_busy_is_not_kept(
    devices: Devices, tmp_path: Path, asked: list[PathTimes]
) -> None:
    asked.append(replace(TIMES, messages=replace(TIMES.messages, error=0.3)))
    with CostDatabase.open(tmp_path / "costs") as database:
        assert not find_transfer(devices, database).steady
        probe(devices, database=database)
        asked.append(TIMES)
        assert find_transfer(devices, database).steady


def test_a_faster_link_knows_better(
    devices: Devices, tmp_path: Path, asked: list[PathTimes]
) -> None:
    slower, faster = (
        replace(TIMES, link=ExchangeTimes(0.02, 8 / bps, 8 / bps, 0)) for bps in (4e6, 6e6)
    )
    with CostDatabase.open(tmp_path / "costs") as database:
        probe(devices, database=database)
        for times, kept in ((slower, TIMES), (faster, faster)):
            asked.append(times)
            assert probe(devices, database=database).transfer == Transfer.of(times)
            assert find_transfer(devices, database) == Transfer.of(kept)


def test_the_radio_may_be_that_of_a_profile(devices: Devices, asked: list[PathTimes]) -> None:
    path = find_path("huang2012-4g,probe", devices=devices, database="analytic")
    radio = load_link("huang2012-4g,up=5e6,down=10e6,rtt=0.02")
    assert path.link.name == "huang2012-4g,probe"
    assert path.link.how.startswith("measured:probe from ")
    assert path.link.uplink_bps == pytest.approx(5e6)
    assert path.link.downlink_bps == pytest.approx(10e6)
    assert path.link.rtt_s == 0.02
    assert path.link.transmit_w == pytest.approx(radio.transmit_w)
    assert path.link.receive_w == pytest.approx(radio.receive_w)


def test_links_with_a_name_are_not_probed() -> None:
    path = find_path("huang2012-4g")
    assert path.link == load_link("huang2012-4g")
    assert path.link.how == "model:huang2012-4g"
    assert path.transfer is None
    assert find_path(path.link) == path


def test_a_probe_needs_devices() -> None:
    with pytest.raises(ProfileError, match="give --tracker HOST:PORT"):
        find_path("probe")


def test_an_unknown_radio(devices: Devices) -> None:
    with pytest.raises(ProfileError, match="unknown link '5g-maybe'"):
        find_path("5g-maybe,probe", devices=devices, database="analytic")


def test_a_mobile_without_python(tmp_path: Path) -> None:
    with deployment(tmp_path, native_device_server()) as devices:
        path = probe(devices)
        assert path.link.how.startswith("measured:probe from this machine to ")
        assert "no Python" in path.link.how
        assert path.link.uplink_bps > 1e8
        assert path.transfer is None
        with (
            CostDatabase.open(tmp_path / "costs") as database,
            pytest.raises(DeviceError, match="no Python"),
        ):
            find_transfer(devices, database)


def test_a_mobile_that_cannot_reach_the_cloud(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RemoteSession.function

    def function(session: RemoteSession, name: str) -> object:
        if name != link_probe.PROBE:
            return real(session, name)
        return lambda text: json.dumps({"why_not": "no route"})

    monkeypatch.setattr(RemoteSession, "function", function)
    path = probe(devices)
    assert path.link.how.startswith("measured:probe from this machine to ")
    assert path.link.how.endswith("cannot time its path: no route")


def test_an_emulated_mobile_says_so(tmp_path: Path, asked: list[PathTimes]) -> None:
    with deployment(tmp_path, device_server, "--slowdown", "3") as devices:
        path = probe(devices)
    assert path.link.how.endswith("emulated slowdown 3x")
    assert path.transfer is not None
    assert path.transfer.source == "measured:messages emulated slowdown 3x"
