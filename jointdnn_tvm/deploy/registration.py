"""A device server's place in a tracker's queue, kept through silence and restarts."""

from __future__ import annotations

import random
import sys
import time
from typing import Any

from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.tracker_client import (
    GET_PENDING_MATCHKEYS,
    PUT,
    SUCCESS,
    UPDATE_INFO,
    TrackerConnection,
)

HEARTBEAT_S = 2.0
_UNUSED_S = 6.0
_ANSWER_S = 1.0
_AGAIN_S = 5.0


class Registration:
    """Offers one session at a time to the tracker's clients.

    The tracker hands a client the match key of an offer; the client shows it when it connects.
    `renew` makes the next offer; `tick`, called often, keeps the connection and the offer fresh.
    """

    def __init__(self, tracker: Address, key: str, port: int) -> None:
        self.tracker = tracker
        self.match_key = ""
        self._key = key
        self._port = port
        self._connection: TrackerConnection | None = None
        self._next_beat = 0.0
        self._taken_at: float | None = None

    def open(self) -> None:
        """Register and make the first offer; DeviceError when there is no tracker."""
        connection = TrackerConnection(self.tracker, _ANSWER_S)
        try:
            info = {"key": f"server:{self._key}", "addr": [None, self._port]}
            _expect_success(connection.ask([UPDATE_INFO, info], _ANSWER_S))
        except (OSError, ValueError) as error:
            connection.close()
            raise DeviceError(f"tracker {self.tracker} does not answer ({error})") from error
        self._connection = connection
        self._next_beat = time.monotonic() + HEARTBEAT_S

    def renew(self) -> None:
        """Offer a new session; the key of the last offer opens no more."""
        self.match_key = f"{self._key}:{random.random()}"
        self._taken_at = None
        if self._connection is None:
            return
        try:
            offer = [PUT, self._key, [self._port, self.match_key], None]
            _expect_success(self._connection.ask(offer, _ANSWER_S))
        except (OSError, ValueError) as error:
            self._drop(error)

    def renew_if_taken(self) -> None:
        """Offer a new session unless the last offer still stands: its client came by itself."""
        try:
            if self._connection is not None and self.match_key in self._pending():
                return
        except (OSError, ValueError) as error:
            self._drop(error)
        self.renew()

    def tick(self, offering: bool) -> None:
        """Heartbeat; `offering` is whether a client may come with the match key at any time."""
        if time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + HEARTBEAT_S
        try:
            if self._connection is None:
                self.open()
                print(f"jointdnn: registered with tracker {self.tracker} again", file=sys.stderr)
                if offering:
                    self.renew()
            elif self._is_stale(offering):
                self.renew()
        except (OSError, ValueError, DeviceError) as error:
            self._drop(error)

    def close(self) -> None:
        """Leave the tracker, which forgets this server at once."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _is_stale(self, offering: bool) -> bool:
        """Whether a client took the offer and never came."""
        if not offering or self.match_key in self._pending():
            self._taken_at = None
        elif self._taken_at is None:
            self._taken_at = time.monotonic()
        return self._taken_at is not None and time.monotonic() - self._taken_at > _UNUSED_S

    def _pending(self) -> Any:
        """The match keys of offers that nobody has taken."""
        assert self._connection is not None
        return self._connection.ask([GET_PENDING_MATCHKEYS], _ANSWER_S)

    def _drop(self, error: Exception) -> None:
        if self._connection is not None:
            print(
                f"jointdnn: lost tracker {self.tracker} ({error}); will register again",
                file=sys.stderr,
            )
        self.close()


def _expect_success(answer: object) -> None:
    if answer != SUCCESS:
        raise ValueError(f"it answered {answer!r}")
