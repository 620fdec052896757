import os

import pytest

from jointdnn_tvm.deploy.device_info import this_device


@pytest.mark.parametrize(("slowdown", "emulated"), [(1.0, False), (4.0, True)])
def test_describes_this_machine(slowdown: float, emulated: bool) -> None:
    information = this_device("raspberry-pi-4", slowdown).as_json()
    assert information["target"] == "raspberry-pi-4"
    assert information["slowdown"] == slowdown
    assert information["emulated"] is emulated
    assert information["machine"] == os.uname().machine
    assert information["hostname"]
    assert information["cpu"]
    assert information["cores"] >= 1
    assert information["memory_bytes"] > 1 << 28
    assert information["tvm"].startswith("0.27")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="no x86 machine")
def test_a_machine_that_an_x86_one_plays_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert this_device("raspberry-pi-4", 1.0).as_json()["emulated"] is True
