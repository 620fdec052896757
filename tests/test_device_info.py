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
