"""The processes of the test bed's two sides: the cloud's device server and the phone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bed_links import Bed, BedError
from undisturbed import urgent

from jointdnn_tvm.deploy.file_cache import FileCache
from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.deploy.throttle import Throttle
from jointdnn_tvm.runtime.closing import Closing
from jointdnn_tvm.runtime.file_transfer import file_digest

KEY = "cloud"
SERVER = ("-m", "jointdnn_tvm.cli", "device")
PHONE = (str(Path(__file__).with_name("testbed_phone.py")),)
ONE_THREAD = {"TVM_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Both sides share few cores: a second thread would wait for whatever else runs there."""

_START_S = 60.0


class Cloud(Closing):
    """The cloud's device server, native, and the cache that its files are put into."""

    def __init__(self, bed: Bed, folder: Path, program: Sequence[str] = SERVER) -> None:
        self._cache = FileCache(folder)
        words = [*program, "--host", bed.cloud_host, "--port", "0"]
        words += ["--key", KEY, "--cache", str(folder), "--until-stdin-closes"]
        program, arguments = bed.cloud(words)
        with urgent():
            self._server = ServerProcess("cloud device server", arguments, ONE_THREAD, program)
        try:
            self.address = self._server.wait_ready(_START_S)
        except BaseException:
            self._server.close()
            raise

    def give(self, *files: Path) -> None:
        """Put files into its cache past the link, which may be slow."""
        for path in files:
            digest, size = file_digest(path), path.stat().st_size
            if not self._cache.has(digest, size):
                with self._cache.writer(digest, size) as target, path.open("rb") as source:
                    shutil.copyfileobj(source, target)

    def close(self) -> None:
        """End the server."""
        self._server.close()


class Phone(Closing):
    """The process on the phone's side: it does one job after the other; see `testbed_phone.py`."""

    def __init__(self, bed: Bed, program: Sequence[str] = PHONE) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed by close
        with urgent():
            self._process = subprocess.Popen(
                bed.phone(program),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                start_new_session=True,
                env={**os.environ, **ONE_THREAD, "TVM_USE_RUNTIME_LIB": "1"},
            )

    @contextmanager
    def slowed(self, factor: float) -> Iterator[None]:
        """It is stopped most of the time."""
        throttle = Throttle(self._process.pid, factor)
        with urgent(2):  # before what it stops
            throttle.start()
        try:
            yield
        finally:
            throttle.stop()

    def do(self, job: str, **arguments: Any) -> Any:
        """Have it do a job and return the result; BedError when it failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"job": job, **arguments}) + "\n")
            self._process.stdin.flush()
        said = self._process.stdout.readline()
        if not said:
            raise BedError(f"the phone ended: {self._last_words()}")
        answer = json.loads(said)
        if "error" in answer:
            raise BedError(f"the phone could not {job}: {answer['error']}")
        return answer["result"]

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line for line in self._log.read().decode().splitlines() if line.strip()]
        return lines[-1] if lines else "it left no log"

    def close(self) -> None:
        """Kill it, and what it started."""
        for sig in (signal.SIGCONT, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, sig)
        self._process.communicate()
        self._log.close()
