"""What is checked of a tracker and the devices that it knows; no step waits for ever."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tvm import __version__ as tvm_version

from jointdnn_tvm.cli.units import quantity
from jointdnn_tvm.doctor.finding import Finding, failure, ok, warning
from jointdnn_tvm.errors import DeviceError, ProfileError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.link_probe import probe_link
from jointdnn_tvm.runtime.remote import RemoteSession, connect, request
from jointdnn_tvm.runtime.tracker_client import tracker_summary
from jointdnn_tvm.targets import load_target

Progress = Callable[[str, int, int], None]


def check_deployment(tracker: Address, deadline_s: float, report: Progress) -> Iterator[Finding]:
    """The tracker and each of its devices; an answer is awaited for `deadline_s` at most."""
    about = f"tracker {tracker}"
    try:
        servers = tracker_summary(tracker, deadline_s)["server_info"]
    except DeviceError as error:
        yield failure(about, error)
        return
    if not servers:
        start = f"jointdnn device --tracker {tracker} --key KEY"
        yield warning(about, f"it knows no device; start one with `{start}`", keys={})
        return
    devices = sorted((s["key"].removeprefix("server:"), *s["addr"]) for s in servers)
    names = [key for key, _, _ in devices]
    keys = {key: names.count(key) for key in names}
    text = ", ".join(f"{count} with key {key}" for key, count in keys.items())
    yield ok(about, f"devices: {text}", keys=keys)
    for done, (key, host, port) in enumerate(devices):
        report("looking at the devices", done, len(devices))
        yield from check_device(tracker, key, Address(host, port), deadline_s)
    report("looking at the devices", len(devices), len(devices))


def check_device(
    tracker: Address, key: str, address: Address, deadline_s: float
) -> Iterator[Finding]:
    """The link to it, who it is, and its sensor; each with its `key` and `address`."""
    about = f"device {key} {address}"
    link = _check_link(address, f"{about}: link", deadline_s)
    is_ours = link.status == "ok"
    facts = {"key": key, "address": str(address)}
    for finding in (link, *_check_inside(tracker, key, address, deadline_s, is_ours)):
        yield replace(finding, facts={**facts, **finding.facts})


def _check_inside(
    tracker: Address, key: str, address: Address, deadline_s: float, is_ours: bool
) -> Iterator[Finding]:
    about = f"device {key} {address}"
    try:
        with _open(tracker, key, address, deadline_s, is_ours) as session:
            yield from _check_session(_Asking(session, deadline_s), about)
    except DeviceError as error:
        # One that exchanges bytes is there: perhaps another client has the session.
        yield warning(about, error) if is_ours else failure(about, error)


def _open(
    tracker: Address, key: str, address: Address, deadline_s: float, is_ours: bool
) -> RemoteSession:
    try:
        return connect(address, key, deadline_s)
    except DeviceError:
        if not is_ours:  # TVM's own server takes only whom the tracker sends
            with suppress(DeviceError):
                session = request(tracker, key, deadline_s)
                if session.address == address:
                    return session
                session.close()
        raise


def _check_link(address: Address, about: str, deadline_s: float) -> Finding:
    try:
        times = probe_link(address, deadline_s)
    except DeviceError as error:
        return warning(about, error)
    rtt_s, up_bps, down_bps = times.fixed_s, 8 / times.up_s_per_byte, 8 / times.down_s_per_byte
    return ok(
        about,
        f"round trip {quantity(rtt_s, 's')}, up {quantity(up_bps, 'bit/s')}, "
        f"down {quantity(down_bps, 'bit/s')}",
        rtt_s=rtt_s,
        uplink_bps=up_bps,
        downlink_bps=down_bps,
    )


class _Asking:
    """Functions of a device that answer with a JSON object, in time."""

    def __init__(self, session: RemoteSession, deadline_s: float) -> None:
        self.session = session
        self._deadline_s = deadline_s

    def __call__(self, name: str, *arguments: str) -> dict[str, Any] | None:
        """The answer; None when it has no such function."""
        if not self.session.has_function(name):
            return None
        function = self.session.function(name)
        with self.session.deadline(self._deadline_s, f"answering {name}"):
            answer: dict[str, Any] = json.loads(function(*arguments))
        return answer


def _check_session(ask: _Asking, about: str) -> Iterator[Finding]:
    info = ask("jointdnn.device_info")
    if info is None:
        yield warning(
            about,
            "TVM's own server, which runs no bundle; start `jointdnn device` there",
        )
        return
    yield _check_runtime(info, about)
    yield _check_sensor(ask, info["target"], f"{about}: sensor")


def _check_runtime(info: dict[str, Any], about: str) -> Finding:
    facts = {name: info[name] for name in ("target", "hostname", "cpu", "tvm", "emulated")}
    slowed = f", EMULATED {info['slowdown']:g}x slower" if info["slowdown"] != 1 else ""
    text = f"target {info['target']}, {info['cpu']}, TVM {info['tvm']}{slowed}"
    if info["tvm"] != tvm_version:
        return failure(
            about,
            f"{text}: what is built here, with TVM {tvm_version}, does not run there; "
            f"pip install apache-tvm=={tvm_version} on the device",
            **facts,
        )
    return ok(about, text, **facts)


def _check_sensor(ask: _Asking, target: str, about: str) -> Finding:
    try:
        kind = load_target(target).kind
    except ProfileError:
        kind = "cpu"  # a profile of the device's own
    found = ask("jointdnn.energy_sensor", kind)
    if found is None:
        return ok(about, "this device server reads none; energy is modelled", sensor=None)
    if "why_not" in found:
        return warning(about, found["why_not"], sensor=None)
    if not found:
        return ok(about, "none; energy is modelled", sensor=None)
    return ok(about, found["name"], sensor=found["name"], window_s=found["window_s"])
