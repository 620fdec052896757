"""What a device says of itself before it is measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from jointdnn_tvm.cost.bench import Bench
from jointdnn_tvm.cost.device import SOURCE, Device, describe_device
from jointdnn_tvm.deploy.device_info import this_device
from jointdnn_tvm.deploy.throttle import period_s
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession, connect
from tests.deployment import device_server
from tests.measurable import PRODUCT, QUICK, build_library


def test_an_emulated_device_says_so(tmp_path: Path) -> None:
    with device_server(tmp_path, "--slowdown", "4") as (_, address):
        with connect(address, deadline_s=20) as session:
            device = describe_device(session)
        bench = Bench(lambda: connect(address, deadline_s=20), "cpu", QUICK)
        found = bench.measure(build_library(tmp_path), PRODUCT, 60)
        bench.close()
    assert device.slowdown == 4
    assert bench.device == device
    assert json.loads(device.identity)["slowdown"] == 4
    assert device.source == found.source == f"{SOURCE} emulated slowdown 4x"
    assert device.shortest_repeat_ms >= 2e3 * period_s(4)
    assert Device("phone").shortest_repeat_ms == 5


class Played:
    """Stands for a session with a device that qemu plays."""

    def __init__(self) -> None:
        info = this_device("raspberry-pi-4", 1.0).as_json()
        self._told = json.dumps({**info, "machine": "aarch64", "emulated": True})

    def has_function(self, name: str) -> bool:
        return True

    def function(self, name: str) -> Callable[[], str]:
        return lambda: self._told

    @contextmanager
    def deadline(self, seconds: float, what: str) -> Iterator[None]:
        yield

    def __str__(self) -> str:
        return "device somewhere:1"


def test_what_an_emulator_plays_is_not_measured() -> None:
    why = "device somewhere:1 runs aarch64 by an emulator, so its times are no costs; measure on"
    with pytest.raises(DeviceError, match=why):
        describe_device(cast(RemoteSession, Played()))


def test_devices_of_a_kind_differ_by_their_host(tmp_path: Path) -> None:
    with device_server(tmp_path) as (_, address), connect(address, deadline_s=20) as session:
        device = describe_device(session)
    identity, kind = json.loads(device.identity), json.loads(device.kind)
    assert identity.pop("hostname") == device.host
    assert kind.pop("target") == device.target == "host"
    assert identity == kind
