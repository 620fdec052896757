"""Worker processes for jobs that may crash, or never end."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import sys
import time
import warnings
from collections.abc import Callable, Hashable, Sequence
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

J = TypeVar("J", bound=Hashable)
Prepare = Callable[[], Callable[[J], str]]
"""Called once in each worker; makes the function that answers a job."""


def run_jobs(
    prepare: Prepare[J], jobs: Sequence[J], workers: int, timeout_s: float
) -> dict[J, str]:
    """Runs every job in a pool of processes. A job that crashes or hangs costs itself only.

    Returns:
        The answer to each job; "Crash: …" or "Timeout: …" for one that gave none.
    """
    pool = [_Worker(prepare, timeout_s) for _ in range(min(workers, len(jobs)))]
    pending, results = list(jobs[::-1]), dict[J, str]()
    try:
        while len(results) < len(jobs):
            for worker in pool:
                if worker.job is not None and (answer := worker.collect()) is not None:
                    results[worker.job] = answer
                    worker.job = None
                if worker.job is None and pending:
                    worker.give(pending.pop())
            if sys.stderr.isatty():
                print(f"\r{len(results)} of {len(jobs)}", end="", file=sys.stderr)
            busy = [worker.connection for worker in pool if worker.job is not None]
            multiprocessing.connection.wait(busy, timeout=1)
    finally:
        for worker in pool:
            worker.stop()
    return results


class _Worker(Generic[J]):
    """A process that is started again when it dies or takes too long."""

    def __init__(self, prepare: Prepare[J], timeout_s: float) -> None:
        self._prepare, self._timeout_s = prepare, timeout_s
        self.job: J | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, self._prepare), daemon=True)
        self._process.start()
        other.close()
        try:
            self.connection.recv()
        except EOFError:
            raise RuntimeError("a worker process did not start") from None

    def give(self, job: J) -> None:
        """Starts a job."""
        self.job = job
        self._deadline = time.monotonic() + self._timeout_s
        self.connection.send(job)

    def collect(self) -> str | None:
        """The answer to the job, or None while it runs."""
        try:
            if self.connection.poll(0):
                return str(self.connection.recv())
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self._start()
            return f"Crash: the process ended with {code}"
        if time.monotonic() < self._deadline:
            return None
        self.stop()
        self._start()
        return f"Timeout: more than {self._timeout_s:.0f} s"

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.join()


def _work(connection: Connection, prepare: Prepare[J]) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    warnings.simplefilter("ignore")
    answer = prepare()
    connection.send("ready")
    while True:
        connection.send(answer(connection.recv()))
