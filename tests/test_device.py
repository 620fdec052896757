"""What a device says of itself before it is measured."""

from __future__ import annotations

import json
from pathlib import Path

from jointdnn_tvm.cost.bench import Bench
from jointdnn_tvm.cost.device import SOURCE, Device, describe_device
from jointdnn_tvm.deploy.throttle import period_s
from jointdnn_tvm.runtime.remote import connect
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


def test_devices_of_a_kind_differ_by_their_host(tmp_path: Path) -> None:
    with device_server(tmp_path) as (_, address), connect(address, deadline_s=20) as session:
        device = describe_device(session)
    identity, kind = json.loads(device.identity), json.loads(device.kind)
    assert identity.pop("hostname") == device.host
    assert kind.pop("target") == device.target == "host"
    assert identity == kind
