"""Sessions with device servers over TVM RPC, in which nothing waits for ever.

TVM's remote calls block in C++ until the other side answers. Here each runs under a deadline:
a watchdog shuts the session's socket down when it is over, the blocked call returns with an
error, and that becomes a DeviceError. The socket belongs to C++; it is found in `/proc/self/fd`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tvm import rpc
from tvm.error import RPCError

from jointdnn_tvm.errors import DeviceError, JointdnnError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.closing import Closing
from jointdnn_tvm.runtime.deadline import watch
from jointdnn_tvm.runtime.own_sockets import NewSockets
from jointdnn_tvm.runtime.tracker_client import (
    REQUEST,
    SUCCESS,
    TrackerConnection,
    why_nothing_came,
)

_CONNECTING = threading.Lock()


class RemoteSession(Closing):
    """One session with a device server; use it from one thread at a time.

    Any TVM call of the session belongs in ``with session.deadline(seconds, what):``, also one
    on a remote module, function or tensor. Once a deadline passed or the server went away the
    session is dead: `alive` is False and every later deadline raises DeviceError at once.
    """

    def __init__(self, address: Address, key: str, session: Any, link: socket.socket) -> None:
        self.address = address
        self.key = key
        self._session = session
        self._link = link
        self._ended: str | None = None

    @property
    def alive(self) -> bool:
        """Whether calls can still be made."""
        return self._ended is None

    @contextmanager
    def deadline(self, seconds: float, what: str) -> Iterator[None]:
        """End the session when the block takes longer; turn its failures into DeviceError.

        `what` completes "while …". An error that the device itself reported leaves the session
        alive. Errors that have nothing to do with the device pass through.
        """
        if self._ended is not None:
            raise DeviceError(f"the session with {self} {self._ended}; open a new one")
        alarm = watch(seconds, self._shut_down)
        try:
            yield
        except JointdnnError:
            raise
        except Exception as error:
            if not alarm.cancel():
                raise self._too_late(seconds, what) from error
            if self._is_cut():
                raise self._lost(what) from error
            if isinstance(error, RPCError):
                raise DeviceError(f"{self} failed while {what}: {_reason(error)}") from error
            raise
        except KeyboardInterrupt:
            self._ended = f"was interrupted while {what}"  # an answer may still be on its way
            raise
        else:
            if not alarm.cancel():
                raise self._too_late(seconds, what)
        finally:
            alarm.cancel()

    def function(self, name: str) -> Callable[..., Any]:
        """A global function of the device."""
        with self.deadline(10.0, f"looking for the function {name}"):
            try:
                function: Callable[..., Any] = self._session.get_function(name)
            except AttributeError as error:
                raise DeviceError(
                    f"{self} has no function {name}; start it with `jointdnn device`"
                ) from error
        return function

    def has_function(self, name: str) -> bool:
        """Whether the device has a global function of that name."""
        with self.deadline(10.0, f"looking for the function {name}"):
            try:
                self._session.get_function(name)
            except AttributeError:
                return False
        return True

    def device(self, kind: str = "cpu", index: int = 0) -> Any:
        """The remote `tvm.runtime.Device`; `kind` as in a target, such as cpu or cuda."""
        return self._session.device(kind, index)

    def upload(self, data: bytes, name: str) -> None:
        """Put a file into the session's working folder; the caller sets the deadline."""
        self._session.upload(bytearray(data), name)

    def load_module(self, name: str) -> Any:
        """Load an uploaded library; the caller sets the deadline."""
        return self._session.load_module(name)

    def close(self) -> None:
        """End the session: the device is free for others at once."""
        if self._ended is None:
            self._ended = "was closed"
        self._shut_down()
        self._session = None
        self._link.close()

    def _shut_down(self) -> None:
        with suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)

    def _is_cut(self) -> bool:
        try:
            return not self._link.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _too_late(self, seconds: float, what: str) -> DeviceError:
        self._ended = f"was ended because {what} took over {seconds:g} s"
        return DeviceError(
            f"{self} did not answer within {seconds:g} s while {what}; look at its log, "
            f"and start it again if it hangs"
        )

    def _lost(self, what: str) -> DeviceError:
        self._ended = f"was lost while {what}"
        return DeviceError(
            f"the connection to {self} was lost while {what}; look at its log "
            f"(a crash or a lack of memory ends only the session), then try again"
        )

    def __str__(self) -> str:
        """For messages."""
        return f"device {self.address}" + (f" ({self.key})" if self.key else "")


def connect(address: Address, key: str = "", deadline_s: float = 10.0) -> RemoteSession:
    """Open a session with the device server at `address`; DeviceError when it does not answer."""
    return _open(address, key, key, deadline_s)


def request(tracker: Address, key: str, deadline_s: float = 10.0) -> RemoteSession:
    """Wait at the tracker for a free device of that key and open a session with it."""
    until = time.monotonic() + deadline_s
    with TrackerConnection(tracker, deadline_s) as connection:
        while True:
            try:
                answer = connection.ask([REQUEST, key, "", 1], until - time.monotonic())
            except TimeoutError as error:
                raise why_nothing_came(tracker, key, deadline_s) from error
            except (OSError, ValueError) as error:
                raise DeviceError(
                    f"tracker {tracker} went away while a device with key {key!r} was awaited "
                    f"({error}); start it again with `jointdnn tracker --port {tracker.port}`"
                ) from error
            if answer[0] != SUCCESS:
                raise DeviceError(f"tracker {tracker} refused the key {key!r}: {answer}")
            host, port, match_key = answer[1]
            try:
                left_s = max(until - time.monotonic(), 0.5)
                return _open(Address(host, port), key, match_key, left_s)
            except DeviceError:
                if time.monotonic() + 0.5 > until:
                    raise
                time.sleep(0.1)  # registered, but gone: the tracker may have another one


def _open(address: Address, key: str, match_key: str, deadline_s: float) -> RemoteSession:
    """Connect as TVM does, shake hands, and take hold of the socket that C++ opened for it."""
    host = _resolve(address)
    until = time.monotonic() + deadline_s
    if not _CONNECTING.acquire(timeout=deadline_s):
        raise _silent(address, deadline_s)
    try:
        opened = NewSockets(host, address.port)
        alarm = watch(until - time.monotonic(), opened.shut_down)
        try:
            session = rpc.connect(host, address.port, match_key)
        except RuntimeError as error:
            if not alarm.cancel():
                raise _silent(address, deadline_s) from error
            raise _refused(address, key, error) from error
        finally:
            in_time = alarm.cancel()
        links = opened.find()
    finally:
        _CONNECTING.release()
    if not links:
        raise _silent(address, deadline_s)
    *others, link = links  # another thread may have been connecting there too
    for other in others:
        other.close()
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    remote = RemoteSession(address, key, session, link)
    if not in_time:
        remote.close()
        raise _silent(address, deadline_s)
    return remote


def _resolve(address: Address) -> str:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise DeviceError(
            f"the host of {address} cannot be found ({error.strerror}); check the address"
        ) from error
    return str(found[0][4][0])


def _silent(address: Address, deadline_s: float) -> DeviceError:
    return DeviceError(
        f"device {address} did not open a session within {deadline_s:g} s; it may be busy with "
        f"another one, hang, or not be a device server: look at its log"
    )


def _refused(address: Address, key: str, error: Exception) -> DeviceError:
    text = str(error)
    if "matches key" in text:
        reason = f"it does not serve the key {key!r}; give it the --key of the device server"
    elif "Connect to" in text:
        reason = f"nobody listens there; start one with `jointdnn device --port {address.port}`"
    else:
        reason = "what listens there is not a TVM RPC server, or it just ended; look at its log"
    return DeviceError(f"no session with device {address}: {reason}")


def told_by_device(error: DeviceError) -> str | None:
    """What the device itself said, when it answered a call with an error; None otherwise."""
    return _reason(error.__cause__) if isinstance(error.__cause__, RPCError) else None


def _reason(error: Exception) -> str:
    """The first line that says something, of an error that the device sent."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and "Error caught from RPC call" not in line]
    return told[0][:300] if told else type(error).__name__
