"""A server of ours in another process: started, awaited, and ended without a trace."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.closing import Closing

_PATIENCE_S = 5.0


class ServerProcess(Closing):
    """`PROGRAM ARGUMENTS`, which prints ``READY HOST:PORT`` and ends when its stdin does.

    `program` is this Python unless another one is given. It leads its own process group, so that
    Ctrl-C reaches only the owner, who ends it; and when the owner is killed, the end of its
    standard input tells it to go. `address` is what it said.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        program: str = sys.executable,
    ) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        self._process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self._process.pid

    def wait_ready(self, deadline_s: float) -> Address:
        """Where it listens; DeviceError, with the end of its log, when it does not come up."""
        until = time.monotonic() + deadline_s
        said = b""
        while b"\n" not in said:
            assert self._process.stdout is not None
            pipe = self._process.stdout.fileno()
            if not select.select([pipe], [], [], max(until - time.monotonic(), 0.0))[0]:
                raise self._failure(f"was not ready within {deadline_s:g} s")
            part = os.read(pipe, 4096)
            if not part:
                raise self._failure("ended at once")
            said += part
        word, _, address = said.decode().strip().partition(" ")
        if word != "READY":
            raise self._failure(f"said {said.decode().strip()!r}")
        return Address.parse(address)

    def log(self) -> str:
        """What it wrote to its standard error."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode("utf-8", "replace")

    def _failure(self, what: str) -> DeviceError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        lines = [line for line in self.log().splitlines() if line.strip()]
        last = lines[-1].removeprefix("jointdnn: error: ") if lines else "it left no log"
        return DeviceError(f"the {self.name} {what}: {last}")

    def close(self) -> None:
        """End it and whatever it started: politely, then for good."""
        if self._log.closed:
            return
        try:
            for sig in (signal.SIGTERM, signal.SIGCONT):
                self._signal(sig)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE_S)
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            self._log.close()

    def _signal(self, sig: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, sig)
