import os
import signal
import time
from collections.abc import Iterator

import pytest

from jointdnn_tvm.deploy import registration
from jointdnn_tvm.deploy.registration import Registration
from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.tracker_client import REQUEST, TrackerConnection, tracker_summary
from tests.deployment import eventually, running


@pytest.fixture(scope="module")
def tracker() -> Iterator[tuple[ServerProcess, Address]]:
    with running("tracker", "--port", "0") as tracker:
        yield tracker


@pytest.fixture
def offer(
    tracker: tuple[ServerProcess, Address], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Registration]:
    """A server that has registered and offers a session, in a hurry."""
    monkeypatch.setattr(registration, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(registration, "_UNUSED_S", 0.2)
    monkeypatch.setattr(registration, "_ANSWER_S", 0.3)
    offer = Registration(tracker[1], "phone", 1234)
    offer.open()
    offer.renew()
    yield offer
    offer.close()


def _take(tracker: Address) -> str:
    with TrackerConnection(tracker, 5) as connection:
        _, (_, port, match_key) = connection.ask([REQUEST, "phone", "", 1], 5)
    assert port == 1234
    return str(match_key)


def _free(tracker: Address) -> int:
    return int(tracker_summary(tracker)["queue_info"]["phone"]["free"])


def test_hands_out_the_key(tracker: tuple[ServerProcess, Address], offer: Registration) -> None:
    assert _take(tracker[1]) == offer.match_key
    assert _free(tracker[1]) == 0
    offer.renew()
    assert _free(tracker[1]) == 1


def test_an_offer_that_was_taken_and_not_used_is_made_again(
    tracker: tuple[ServerProcess, Address], offer: Registration
) -> None:
    taken = _take(tracker[1])

    def is_renewed() -> bool:
        offer.tick(offering=True)
        return offer.match_key != taken

    assert eventually(is_renewed)
    assert _free(tracker[1]) == 1


def test_no_offer_while_busy(tracker: tuple[ServerProcess, Address], offer: Registration) -> None:
    taken = _take(tracker[1])
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        offer.tick(offering=False)
        time.sleep(0.01)
    assert offer.match_key == taken
    assert _free(tracker[1]) == 0


def test_leaves(tracker: tuple[ServerProcess, Address], offer: Registration) -> None:
    offer.close()
    assert eventually(lambda: _free(tracker[1]) == 0)


def test_a_tracker_that_hangs_holds_nobody_up(
    tracker: tuple[ServerProcess, Address], offer: Registration
) -> None:
    os.kill(tracker[0].pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        for _ in range(3):
            offer.tick(offering=True)
            time.sleep(0.03)
        assert time.monotonic() - start < 3
        with pytest.raises(DeviceError, match="is not a TVM RPC tracker"):
            offer.open()
    finally:
        os.kill(tracker[0].pid, signal.SIGCONT)

    def is_back() -> bool:
        offer.tick(offering=True)
        return _free(tracker[1]) == 1

    assert eventually(is_back)
