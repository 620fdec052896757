"""The client's side of a device's sensor, against a session that answers as a device would."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jointdnn_tvm.cost.energy import RemoteMeter, has_sensor
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession


class FakeSession:
    """A device that takes `idle_w`, and `busy_w` in each second that a workload runs."""

    alive = True

    def __init__(self, idle_w: float = 2.0, busy_w: float = 7.0, rate_hz: float = 100.0) -> None:
        self.idle_w, self.busy_w, self.rate_hz = idle_w, busy_w, rate_hz
        self.now = self.begun = self.joules = 0.0
        self.answers: dict[str, dict[str, Any]] = {
            "jointdnn.energy_sensor": {"name": "fake", "window_s": 1.0}
        }

    def spend(self, seconds: float, power_w: float | None = None) -> None:
        self.now += seconds
        self.joules += seconds * (self.idle_w if power_w is None else power_w)

    def run(self, number: int, latency_s: float = 0.003) -> int:
        self.spend(0.25)  # asking for it over a slow network
        self.spend(number * latency_s, self.busy_w)
        return number

    def has_function(self, name: str) -> bool:
        return name in self.answers

    def function(self, name: str) -> Callable[..., str]:
        def start() -> str:
            self.begun, self.joules = self.now, 0.0
            return "{}"

        def stop() -> str:
            seconds = self.now - self.begun
            samples = int(seconds * self.rate_hz)
            return json.dumps({"energy_j": self.joules, "seconds": seconds, "samples": samples})

        if name in self.answers:
            return lambda *_: json.dumps(self.answers[name])
        return {"jointdnn.energy_start": start, "jointdnn.energy_stop": stop}[name]

    @contextmanager
    def deadline(self, seconds: float, what: str) -> Iterator[None]:
        yield


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> FakeSession:
    session = FakeSession()
    clock = SimpleNamespace(sleep=session.spend, monotonic=lambda: session.now)
    monkeypatch.setattr("jointdnn_tvm.cost.energy.time", clock)
    return session


def find(session: FakeSession) -> RemoteMeter:
    meter = RemoteMeter.find(cast(RemoteSession, session), "cpu")
    assert meter is not None
    return meter


def test_idle_power_is_taken_off(session: FakeSession) -> None:
    meter = find(session)
    assert meter.idle_w == pytest.approx(2.0)
    found = meter.measure(session.run, latency_s=0.003, deadline_s=10)
    assert found.energy_j == pytest.approx(5.0 * 0.003)
    assert found.idle_w == pytest.approx(2.0)
    assert found.window_s > 1
    assert found.samples == int(found.window_s * 100)
    assert (found.reason, found.source) == (None, "measured:fake")


def test_one_long_call_fills_the_window(session: FakeSession) -> None:
    found = find(session).measure(lambda n: session.run(n, 4.0), latency_s=4.0, deadline_s=10)
    assert found.energy_j == pytest.approx(20.0)
    assert found.window_s == pytest.approx(4.25)


def test_a_sensor_slower_than_the_window_is_said(session: FakeSession) -> None:
    meter = find(session)
    session.rate_hz = 5.0
    with pytest.raises(DeviceError, match=r"gave \d values in 1.\d+ s; 20 in at least 1 s are"):
        meter.measure(session.run, latency_s=0.003, deadline_s=10)


def test_a_call_that_became_faster_still_fills_the_window(session: FakeSession) -> None:
    run = session.run
    found = find(session).measure(lambda n: run(n, 0.001), latency_s=0.003, deadline_s=10)
    assert found.energy_j == pytest.approx(5.0 * 0.001)
    assert found.window_s >= 1


def test_no_more_than_idle_is_no_energy(session: FakeSession) -> None:
    meter = find(session)
    session.busy_w = session.idle_w = 1.9
    found = meter.measure(session.run, latency_s=0.003, deadline_s=10)
    assert found.energy_j is None
    assert found.reason == "the device took 1.9 W at work, not above its 2 W when idle"
    assert found.source == "measured:fake"


def test_a_device_without_a_sensor(session: FakeSession) -> None:
    remote = cast(RemoteSession, session)
    assert has_sensor(remote, "cpu")
    session.answers["jointdnn.energy_sensor"] = {}
    assert RemoteMeter.find(remote, "cpu") is None
    assert not has_sensor(remote, "cpu")
    session.answers.clear()  # as a server of TVM's own
    assert RemoteMeter.find(remote, "cpu") is None


def test_a_sensor_that_cannot_be_used(session: FakeSession) -> None:
    remote = cast(RemoteSession, session)
    session.answers["jointdnn.energy_sensor"] = {"why_not": "it may not be read"}
    with pytest.raises(DeviceError, match="it may not be read"):
        RemoteMeter.find(remote, "cpu")
    assert not has_sensor(remote, "cpu")
    session.alive = False
    with pytest.raises(DeviceError, match="it may not be read"):
        has_sensor(remote, "cpu")
