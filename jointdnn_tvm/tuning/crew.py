"""Threads that compile while the devices measure; who waits for whom is told by futures."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from jointdnn_tvm.cost.bench import Bench, EvaluatorConfig
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession

_GLANCE_S = 0.2

T = TypeVar("T")


class Crew:
    """Threads for compiling and for each device; a context manager that ends them.

    `compile` and `measure` take a function and what to do with its result, which happens in
    `step`, in the caller's own thread. Where a device is this very machine, nothing is compiled
    while it measures. A device that is lost is waited for by `connect`, as long as that waits;
    then its work goes to the others. DeviceError from `step` when none is left.
    """

    def __init__(
        self, sessions: Sequence[RemoteSession], connect: Callable[[], RemoteSession], kind: str
    ) -> None:
        self._benches: queue.Queue[Bench | None] = queue.Queue()  # None: there are no more
        self._open: list[Bench] = []
        waiting = list(sessions)

        def connect_or_stop() -> RemoteSession:
            if waiting:
                return waiting.pop()
            self.check()
            return connect()

        self._stopped = False
        try:
            while waiting:
                self._open.append(Bench(connect_or_stop, kind, EvaluatorConfig()))
                self._benches.put(self._open[-1])
        except BaseException:
            for bench in self._open:
                bench.close()
            for session in waiting:
                session.close()
            raise
        self._local = any(bench.device.host == socket.gethostname() for bench in self._open)
        alone = threading.Lock() if self._local else nullcontext()
        self._alone: AbstractContextManager[Any] = alone
        self.repeat_ms = max(bench.device.shortest_repeat_ms for bench in self._open)
        self._compilers = 1 if self._local else len(os.sched_getaffinity(0))
        self._compiling = ThreadPoolExecutor(self._compilers, thread_name_prefix="tuning-compiles")
        self._measuring = ThreadPoolExecutor(len(self._open), thread_name_prefix="tuning-measures")
        self._pending: dict[Future[Any], Callable[[Any], None]] = {}

    @property
    def size(self) -> int:
        """How many devices there are."""
        return len(self._open)

    @property
    def places(self) -> int:
        """How much work keeps all busy: a device has one thing in work and one that waits."""
        return 2 * self.size + self._compilers

    @property
    def devices(self) -> list[str]:
        """Who they are."""
        return [bench.device.identity for bench in self._open]

    @property
    def idle(self) -> bool:
        """Whether a device that could measure now has nothing to measure."""
        return not self._local and not self._benches.empty()

    @property
    def busy(self) -> bool:
        """Whether anything is being done."""
        return bool(self._pending)

    def check(self) -> None:
        """DeviceError once the crew is to end; what takes long asks now and then."""
        if self._stopped:
            raise DeviceError("tuning was stopped")

    def compile(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Have `work` done by a thread that compiles."""

        def compiled() -> T:
            with self._alone:
                return work()

        self._pending[self._compiling.submit(compiled)] = then

    def measure(self, work: Callable[[Bench], T], then: Callable[[T], None]) -> None:
        """Have `work` done with a device that is free."""

        def measured() -> Any:
            bench = self._benches.get()
            if bench is None:
                raise DeviceError("tuning was stopped")
            try:
                with self._alone:
                    result = work(bench)
            except DeviceError as error:
                if bench.alive:
                    self._benches.put(bench)
                return _Lost(bench, error)
            except BaseException:
                self._benches.put(bench)
                raise
            self._benches.put(bench)
            return result

        def told(result: Any) -> None:
            if not isinstance(result, _Lost):
                then(result)
                return
            if result.bench in self._open and not result.bench.alive:
                self._open.remove(result.bench)
                result.bench.close()
            if not self._open:
                raise result.error
            self.measure(work, then)

        self._pending[self._measuring.submit(measured)] = told

    def step(self) -> None:
        """Wait a little for something to be done, and hand on what is."""
        done, _ = wait(self._pending, _GLANCE_S, FIRST_COMPLETED)
        for future in done:
            self._pending.pop(future)(future.result())

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        """End the sessions, which wakes what blocks in them, and the threads."""
        self._stopped = True
        for future in self._pending:
            future.cancel()
            self._benches.put(None)
        for bench in self._open:
            bench.close()
        self._compiling.shutdown()
        self._measuring.shutdown()


class _Lost:
    def __init__(self, bench: Bench, error: DeviceError) -> None:
        self.bench = bench
        self.error = error
