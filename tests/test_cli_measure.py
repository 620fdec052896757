"""What `jointdnn measure` shows of a measurement."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from jointdnn_tvm.cli import measure
from jointdnn_tvm.cost.database import Energy, Measurement
from jointdnn_tvm.cost.transfer import Transfer


def shown(cost: Measurement, transfer: Transfer | None = None) -> str:
    group: dict[str, Any] = {"name": "conv2d_0", "operators": ["conv2d"]}
    sides = {side: measure._cost(cost) for side in ("mobile", "cloud")}
    found = {"newly_measured": 1, "doubts": [], "transfer": transfer and asdict(transfer)}
    return measure.render({**found, "groups": [{**group, **sides}]})


def test_a_median_with_its_interval() -> None:
    text = shown(Measurement(1e-3, 9e-5, 6, None, "measured:a clock", 1e-5))
    assert "1000.0 ±10.0" in text
    assert "?" not in text
    assert text.endswith("newly measured: 1; measured:a clock")


def test_a_median_that_is_not_known_well() -> None:
    text = shown(Measurement(1e-3, 9e-5, 16, None, "measured:a clock", 3e-5))
    assert "1000.0 ±30.0?" in text
    assert "?: the median is not known within 2 %; measure on a device that is idle" in text


def test_an_estimate_has_no_interval() -> None:
    text = shown(Measurement(1e-3, 0.0, 0, None, "model:roofline"))
    assert "1000.0  " in text
    assert "±" not in text
    assert "?" not in text


def test_what_cannot_run() -> None:
    text = shown(Measurement.failure("no memory", "measured:a clock"))
    assert "conv2d_0 cannot run on the cloud: no memory" in text
    assert "?" not in text


def test_what_crossings_cost() -> None:
    cost = Measurement(1e-3, 9e-5, 6, None, "measured:a clock", 1e-5)
    text = shown(cost, Transfer(5e-4, 2e-8, 1.95e-8, 1e9, 1e9))
    assert (
        "a visit to the cloud costs both sides 500 us, a byte 20 ns up and 19.5 ns down, "
        "beside the link; measured:messages"
    ) in text.splitlines()


def test_energy_stands_beside_the_time() -> None:
    energy = Energy(0.006, 2.5, 1.1, 110, None, "measured:fake")
    cost = measure._cost(Measurement(1e-3, 9e-5, 6, None, "measured:a clock", 1e-5, energy))
    assert cost["interval_s"] == 1e-5
    assert cost["energy"]["energy_j"] == 0.006
    assert cost["energy"]["source"] == "measured:fake"
    assert measure._cost(Measurement.failure("no memory", "measured"))["energy"] is None
