"""Spread the workloads over several devices that are alike, a thread for each."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

from jointdnn_tvm.cost.bench import EvaluatorConfig, Workload
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.device import Device, describe_device
from jointdnn_tvm.cost.measure import Batch, measure
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession

_GLANCE_S = 0.2

Connect = Callable[[], RemoteSession]
Record = Callable[[Workload, Measurement, Device], None]


def measure_on_all(
    batches: Sequence[Batch],
    sessions: Sequence[RemoteSession],
    connect: Connect,
    device_kind: str,
    record: Record,
    config: EvaluatorConfig,
) -> float:
    """Time every workload once, on whichever device is free; returns the largest drift.

    `sessions` are with devices on different hosts, and are closed in the end. `connect` opens one
    in place of one that is lost. A device that does not come back leaves its work to the others:
    DeviceError only when some is left in the end. `record` is called by one thread at a time.
    """
    crew = _Crew(batches, connect, record)
    if len(sessions) == 1:
        return crew.work(sessions[0], device_kind, config)
    with ThreadPoolExecutor(len(sessions), thread_name_prefix="measuring") as pool:
        try:
            working = [pool.submit(crew.work, s, device_kind, config) for s in sessions]
            while wait(working, _GLANCE_S).not_done:
                pass  # waiting for ever would miss a Ctrl-C that another thread's call took
            errors = [w.exception() for w in working]
        except BaseException:
            crew.stop()
            raise
    failures = sorted(filter(None, errors), key=lambda error: isinstance(error, DeviceError))
    if failures and (crew.waiting or not isinstance(failures[0], DeviceError)):
        raise failures[0]
    return max((w.result() for w in working if w.exception() is None), key=abs)


class _Crew:
    """What the threads share: the work that waits, and the sessions that are open."""

    def __init__(self, batches: Sequence[Batch], connect: Connect, record: Record) -> None:
        self.waiting = deque(batches)
        self._connect = connect
        self._record = record
        self._lock = threading.Lock()
        self._open: dict[str, RemoteSession] = {}  # by host
        self._stopped = False

    def work(self, session: RemoteSession, device_kind: str, config: EvaluatorConfig) -> float:
        """Take batch after batch on one device, and another device when that is lost."""
        mine = _Share(self.waiting)
        first = [session]

        def connect() -> RemoteSession:
            self._check()
            return self._enlist(first.pop() if first else self._connect(), mine)

        def record(workload: Workload, measurement: Measurement, device: Device) -> None:
            with self._lock:
                self._check()
                self._record(workload, measurement, device)
            mine.done.add(workload.key)

        try:
            return measure(mine.batches(), connect, device_kind, record, config)
        except DeviceError:
            mine.give_back()
            raise
        except BaseException:
            self.stop()
            raise
        finally:
            with self._lock:
                self._open.pop(mine.host, None)

    def stop(self) -> None:
        """End all threads: what blocks in a call is woken by the end of its session."""
        with self._lock:
            self._stopped = True
            for session in self._open.values():
                session.close()

    def _enlist(self, session: RemoteSession, mine: _Share) -> RemoteSession:
        """One host is one machine: two devices there would slow each other down."""
        try:
            host = describe_device(session).host
            with self._lock:
                self._check()
                if mine.host != host:
                    self._open.pop(mine.host, None)
                    if host in self._open:
                        raise DeviceError(f"{session} is on a host that is measuring already")
                mine.host = host
                self._open[host] = session
        except BaseException:
            session.close()
            raise
        return session

    def _check(self) -> None:
        if self._stopped:
            raise DeviceError("measuring was stopped")


class _Share:
    """What one thread took of the work."""

    def __init__(self, waiting: deque[Batch]) -> None:
        self.host = ""
        self.done: set[str] = set()
        self._waiting = waiting
        self._taken: Batch | None = None

    def batches(self) -> Iterator[Batch]:
        """Take a batch when the one before is done."""
        with suppress(IndexError):  # another thread took the last one
            while True:
                self._taken = self._waiting.popleft()
                yield self._taken
                self._taken = None

    def give_back(self) -> None:
        """Leave to others what is not done."""
        if self._taken is not None:
            left = [w for w in self._taken.workloads if w.key not in self.done]
            self._waiting.append(Batch(self._taken.library, left))
