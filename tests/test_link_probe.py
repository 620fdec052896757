"""The path to a device server: its link as it is shaped, and what messages take besides."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm.deploy.link_shaper import LinkShaper
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime import link_probe
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.exchange_times import Exchange
from jointdnn_tvm.runtime.link_probe import (
    PROBE,
    PathTimes,
    probe_link,
    probe_messages,
    probe_path,
)
from jointdnn_tvm.runtime.message import decode, encode
from jointdnn_tvm.runtime.remote import connect
from jointdnn_tvm.runtime.stage_server import EXCHANGE
from tests.deployment import DeviceServerKind, children, device_server, eventually

UPLINK_BPS, DOWNLINK_BPS, RTT_S = 6e6, 14e6, 0.03


@pytest.fixture(scope="module")
def device(
    serve_device: DeviceServerKind, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Address]]:
    """Process and address of a device server."""
    with serve_device(tmp_path_factory.mktemp("device"), "--key", "cloud") as (server, address):
        yield server.pid, address


@pytest.fixture(scope="module")
def shaped(device: tuple[int, Address]) -> Iterator[Address]:
    rates = {"uplink_bps": UPLINK_BPS, "downlink_bps": DOWNLINK_BPS, "rtt_s": RTT_S}
    with LinkShaper(device[1], **rates) as link:
        yield link.address


def test_the_link_is_found_as_it_is_shaped(shaped: Address) -> None:
    """On a machine that is too busy to shape it so fast, another time."""

    def is_found() -> bool:
        found = probe_link(shaped, 20)
        assert found.fixed_s > RTT_S
        rates_bps = 8 / found.up_s_per_byte, 8 / found.down_s_per_byte
        return rates_bps == pytest.approx((UPLINK_BPS, DOWNLINK_BPS), rel=0.1)

    assert eventually(is_found, 30)


def test_messages_take_the_link_and_something_more(shaped: Address) -> None:
    found = probe_path(shaped, "cloud", 20)
    for times in (found.link, found.messages):  # nothing is quicker, however busy the machine is
        assert times.fixed_s > RTT_S
        assert times.seconds(1e5, 0) > RTT_S + 0.7 * 8e5 / UPLINK_BPS
        assert times.seconds(0, 1e5) > RTT_S + 0.7 * 8e5 / DOWNLINK_BPS
    assert PathTimes.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_message_is_answered_with_as_much_as_it_wants(device: tuple[int, Address]) -> None:
    with connect(device[1], deadline_s=20) as session:
        function = session.function(EXCHANGE)
        for size in (0, 1, 300_000):
            message = encode({"answer_bytes": size}, {"sent": np.arange(7, dtype="uint8")})
            with session.deadline(20, "exchanging"):
                header, tensors = decode(bytes(function(message)))
            assert header == {}
            assert tensors["answer"].shape == (size,)
            assert tensors["answer"].dtype == np.uint8
            assert len(np.unique(tensors["answer"])) >= min(size, 256)
        with pytest.raises(DeviceError, match="exchanging"), session.deadline(20, "exchanging"):
            function(encode({"answer_bytes": -1}, {}))
        with pytest.raises(DeviceError, match="exchanging"), session.deadline(20, "exchanging"):
            function(b"nonsense")
        assert session.alive


def test_a_device_that_falls_silent(
    device: tuple[int, Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_probe, "_EXCHANGE_S", 0.3)
    with connect(device[1], deadline_s=20) as session:
        (pid,) = children(device[0])

        def time_after_stopping(exchange: Exchange, *_: float) -> object:
            os.kill(pid, signal.SIGSTOP)
            return exchange(0, 0)

        monkeypatch.setattr(link_probe, "time_exchanges", time_after_stopping)
        with pytest.raises(DeviceError, match=r"did not answer within .* exchanging"):
            probe_messages(session)


def test_who_accepts_and_says_nothing() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(DeviceError, match=r"within 0\.2 s"),
    ):
        probe_path(Address(*silent.getsockname()), "cloud", 0.2)


def test_a_device_times_its_own_path_to_another(shaped: Address, tmp_path: Path) -> None:
    where = {"host": shaped.host, "port": shaped.port}
    request = {**where, "key": "cloud", "deadline_s": 20, "budget_s": 0.5}
    with (
        device_server(tmp_path, "--key", "mobile") as (_, address),
        connect(address, deadline_s=20) as session,
    ):
        ask = session.function(PROBE)
        with session.deadline(60, "timing its path"):
            answer = json.loads(ask(json.dumps(request)))
        found = PathTimes.from_json(answer)
        assert min(found.link.fixed_s, found.messages.fixed_s) > RTT_S
        with session.deadline(60, "timing its path"):
            answer = json.loads(ask(json.dumps({**request, "key": "other"})))
        assert "does not serve the key 'other'" in answer["why_not"]
