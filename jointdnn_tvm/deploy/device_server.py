"""The device server: what TVM RPC clients reach on a device, to measure, tune and run.

One process listens. It has a single thread and never runs a kernel, so it can fork: each session
gets a process of its own, with its own working folder, and a session that crashes, runs out of
memory or is killed ends alone. (TVM's own server stops answering, with its port still open, once
a session dies.) One session at a time: others wait in line. Files for the cache, and plain bytes
by which a link is timed, are taken at any time. Whoever reaches the server can run any code on it;
that is what TVM RPC is for.
"""

from __future__ import annotations

import math
import os
import select
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jointdnn_tvm.deploy import file_receiver, rpc_session
from jointdnn_tvm.deploy.byte_exchange import exchange_bytes
from jointdnn_tvm.deploy.device_info import DeviceInfo, this_device
from jointdnn_tvm.deploy.file_cache import DEFAULT_CAPACITY_BYTES, FileCache
from jointdnn_tvm.deploy.handshake import Handshake
from jointdnn_tvm.deploy.processes import Child, close_all, fork
from jointdnn_tvm.deploy.registration import Registration
from jointdnn_tvm.deploy.sockets import keep_alive, listen, silence_s
from jointdnn_tvm.deploy.throttle import Throttle
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.byte_connection import BYTES_MAGIC
from jointdnn_tvm.runtime.file_transfer import FILE_MAGIC

_TICK_S = 0.5
_PARTING_S = 1.0
_MAX_WAITING = 64
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class DeviceConfig:
    """How a device server is run; `port` 0 takes any free one.

    Energy sensors are looked for below the folder `sensors`.
    """

    cache: Path
    host: str = "127.0.0.1"
    port: int = 9090
    key: str = "device"
    tracker: Address | None = None
    target: str = "host"
    slowdown: float = 1.0
    cache_bytes: int = DEFAULT_CAPACITY_BYTES
    sensors: Path = Path("/")
    silence_s: float = 3600.0


@dataclass
class _Session:
    child: Child
    peer: str
    connection: socket.socket
    workdir: Path
    throttle: Throttle
    ends_at: float

    def client_left(self) -> bool:
        """Whether the client hung up, which a process deep in a kernel does not notice."""
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)
        return bool(poll.poll(0))


class DeviceServer:
    """Listens from the moment it is made; `serve` works until it is told to stop."""

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        self._info: DeviceInfo = this_device(config.target, config.slowdown)
        self._cache = FileCache(config.cache, config.cache_bytes)
        self._selector = selectors.DefaultSelector()
        self._listener = listen(config.host, config.port)
        self.address = Address(config.host, self._listener.getsockname()[1])
        self._watch(self._listener, self._accept)
        self._handshakes: set[Handshake] = set()
        self._waiting: deque[Handshake] = deque()
        self._session: _Session | None = None
        self._transfers: set[Child] = set()
        self._registration: Registration | None = None
        self._stopping = False
        rpc_session.preload()

    def register(self) -> None:
        """Register with the tracker, if there is one; DeviceError when it does not answer."""
        if self.config.tracker is not None:
            registration = Registration(self.config.tracker, self.config.key, self.address.port)
            registration.open()
            registration.renew()
            self._registration = registration

    def stop(self) -> None:
        """Make `serve` return soon; safe in a signal handler."""
        self._stopping = True

    def stop_at_end_of(self, fd: int) -> None:
        """Stop when the other end of a pipe is closed: its owner is gone."""
        self._selector.register(os.dup(fd), selectors.EVENT_READ, self.stop)

    def serve(self) -> None:
        """Serve until `stop`; afterwards no process, file or registration is left."""
        wake = _wake_on_signals(self.stop)
        self._watch(wake, lambda: wake.recv(64) and None)
        try:
            while not self._stopping:
                for event, _ in self._selector.select(_TICK_S):
                    event.data()
                self._tick()
        finally:
            self._close()
            signal.set_wakeup_fd(-1)

    def _watch(self, source: socket.socket, act: Callable[[], object]) -> None:
        source.setblocking(False)
        self._selector.register(source, selectors.EVENT_READ, act)

    def _tick(self) -> None:
        now = time.monotonic()
        for handshake in [h for h in self._handshakes if h.expires_at < now]:
            self._forget(handshake)
            handshake.connection.close()
        self._check_session(now)
        if self._registration is not None:
            self._registration.tick(offering=self._session is None and not self._waiting)
        self._start_next()

    def _check_session(self, now: float) -> None:
        session = self._session
        if session is None:
            return
        if session.client_left():
            session.ends_at = min(session.ends_at, now + _PARTING_S)
        elif silence_s(session.connection) > self.config.silence_s:
            _log(f"{session.peer} has been silent for too long; see --silence-s")
            session.ends_at = now
        if session.ends_at <= now:
            self._end_session()

    def _accept(self) -> None:
        with suppress(OSError):  # it went away again, or there are too many
            connection, peer = self._listener.accept()
            keep_alive(connection)
            handshake = Handshake(connection, f"{peer[0]}:{peer[1]}")
            self._handshakes.add(handshake)
            self._watch(connection, lambda: self._advance(handshake))

    def _forget(self, handshake: Handshake) -> None:
        self._handshakes.discard(handshake)
        self._selector.unregister(handshake.connection)

    def _advance(self, handshake: Handshake) -> None:
        try:
            if not handshake.advance():
                return
        except (ConnectionError, OSError) as error:
            self._forget(handshake)
            handshake.connection.close()
            _log(f"turned {handshake.peer} away: {error}")
            return
        self._forget(handshake)
        if handshake.magic in (FILE_MAGIC, BYTES_MAGIC):
            self._start_transfer(handshake)
        elif handshake.key in self._keys() and len(self._waiting) < _MAX_WAITING:
            self._waiting.append(handshake)
        else:
            handshake.refuse()
            _log(f"turned {handshake.peer} away: it asked for the key {handshake.key!r}")

    def _keys(self) -> tuple[str, ...]:
        offered = (self._registration.match_key,) if self._registration else ()
        return ("", self.config.key, *offered)

    def _start_next(self) -> None:
        while self._session is None and self._waiting:
            handshake = self._waiting.popleft()
            if handshake.left():
                handshake.connection.close()
                continue
            try:
                self._start_session(handshake)
            except OSError as error:  # no process, no memory, no disk
                handshake.connection.close()
                _log(f"no session for {handshake.peer}: {error}")

    def _start_session(self, handshake: Handshake) -> None:
        workdir = Path(tempfile.mkdtemp(prefix="jointdnn-session-"))
        connection = handshake.connection

        def work() -> None:
            self._leave_to(connection)
            connection.setblocking(True)
            fd = connection.detach()
            rpc_session.serve(fd, workdir, self._info, self._cache, self.config.sensors)

        child = fork(work)
        throttle = Throttle(child.pid, self.config.slowdown)
        ends_at = time.monotonic() + (handshake.timeout_s or math.inf)
        self._session = _Session(child, handshake.peer, connection, workdir, throttle, ends_at)
        self._selector.register(child.alive, selectors.EVENT_READ, self._end_session)
        throttle.start()
        with suppress(OSError):  # if the client has gone, the session notices it first
            handshake.accept(self.config.key)
        _log(f"session of {handshake.peer} begins")

    def _end_session(self) -> None:
        ended, self._session = self._session, None
        if ended is None:
            return
        self._selector.unregister(ended.child.alive)
        _log(f"session of {ended.peer} ends: {ended.child.end()}")
        ended.connection.close()
        ended.throttle.stop()
        shutil.rmtree(ended.workdir, ignore_errors=True)
        if self._registration is not None and not self._stopping:
            self._registration.renew_if_taken()

    def _start_transfer(self, handshake: Handshake) -> None:
        connection = handshake.connection

        def work() -> None:
            self._leave_to(connection)
            if handshake.magic == FILE_MAGIC:
                file_receiver.receive(connection, handshake.text, self._cache)
            else:
                exchange_bytes(connection)

        try:
            child = fork(work)
        except OSError as error:
            _log(f"no process for what {handshake.peer} sends: {error}")
            return
        finally:
            connection.close()
        self._transfers.add(child)
        self._selector.register(
            child.alive, selectors.EVENT_READ, lambda: self._end_transfer(child)
        )

    def _end_transfer(self, child: Child) -> None:
        self._selector.unregister(child.alive)
        self._transfers.discard(child)
        child.end()

    def _leave_to(self, connection: socket.socket) -> None:
        """In a child: let go of everything of the listening process but this connection."""
        signal.set_wakeup_fd(-1)
        for sig in _STOPS:
            signal.signal(sig, signal.SIG_DFL)
        sources = [key.fileobj for key in self._selector.get_map().values()]
        self._selector.close()
        close_all([*sources, *(w.connection for w in self._waiting)], but=connection)
        if self._registration is not None:
            self._registration.close()

    def _close(self) -> None:
        if self._registration is not None:
            self._registration.close()
        self._end_session()
        for child in list(self._transfers):
            self._end_transfer(child)
        for handshake in (*self._handshakes, *self._waiting):
            handshake.connection.close()
        sources = [key.fileobj for key in self._selector.get_map().values()]
        self._selector.close()
        close_all([source for source in sources if not isinstance(source, int)])


def _wake_on_signals(stop: Callable[[], None]) -> socket.socket:
    """The signals that end a server call `stop`; the returned socket becomes readable then."""
    wake, raised = socket.socketpair()
    raised.setblocking(False)
    signal.set_wakeup_fd(raised.detach())
    for sig in _STOPS:
        signal.signal(sig, lambda *_: stop())
    return wake


def _log(text: str) -> None:
    print(f"jointdnn: {text}", file=sys.stderr, flush=True)
