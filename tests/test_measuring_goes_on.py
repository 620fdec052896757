"""Measuring a hundred groups while devices, processes and disks fail."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.devices import Devices
from jointdnn_tvm.errors import CostError
from jointdnn_tvm.runtime.address import Address
from tests.deployment import device_server, running
from tests.many_groups import measure_many
from tests.measurable import build_library

COUNT = 100


class Site:
    """A tracker, and a device that can be killed and started again."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.tracker: Address = stack.enter_context(running("tracker", "--port", "0"))[1]
        self.library = build_library(folder)
        self.database = folder / "costs"
        self.server: ServerProcess
        self.start()

    @property
    def devices(self) -> Devices:
        return Devices(str(self.tracker), cloud_key="mobile", timeout_s=30)

    def start(self) -> None:
        words = ("--tracker", str(self.tracker), "--key", "mobile")
        self.server, _ = self._stack.enter_context(device_server(self._folder, *words))

    def kill(self) -> None:
        """Kill the server and the processes of its sessions, at once."""
        os.killpg(self.server.pid, signal.SIGKILL)

    def process(self) -> subprocess.Popen[str]:
        words = [str(self.tracker), str(self.library), str(self.database), str(COUNT)]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.many_groups", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stored(self) -> int:
        """How many groups the database holds; it must be whole."""
        with closing(sqlite3.connect(self.database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            groups = "SELECT count(*) FROM measurements WHERE workload NOT LIKE '%numbers by%'"
            (timed,) = connection.execute(f"{groups} AND latency_s > 0").fetchone()
            (rows,) = connection.execute(groups).fetchone()
        assert timed == rows
        return int(rows)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


def test_a_device_server_is_killed_and_comes_back(site: Site) -> None:
    told: list[int] = []
    back = threading.Timer(1.0, site.start)

    def said(done: int) -> None:
        told.append(done)
        if done == 37:
            site.kill()
            back.start()

    table = measure_many(site.devices, site.library, site.database, COUNT, said)
    back.join()
    assert told == list(range(1, COUNT + 1))  # each once
    assert table.measured == COUNT
    assert all(m.latency_s for m in table.on_mobile.values())
    assert site.stored() == COUNT
    assert measure_many(site.devices, site.library, site.database, COUNT, said).measured == 0


def test_the_measuring_process_is_killed(site: Site) -> None:
    process = site.process()
    assert process.stdout is not None
    for line in process.stdout:
        if line == "40\n":
            process.kill()
    process.communicate()
    before = site.stored()
    assert 40 <= before < COUNT
    out, err = site.process().communicate(timeout=60)
    assert out.split() == [*map(str, range(before + 1, COUNT + 1)), "new", str(COUNT - before)], err
    assert site.stored() == COUNT


def test_two_processes_at_once_measure_nothing_twice(site: Site) -> None:
    processes = [site.process() for _ in range(2)]
    answers = [p.communicate(timeout=90) for p in processes]
    assert [p.returncode for p in processes] == [0, 0], answers
    new = [int(out.split()[-1]) for out, _ in answers]
    assert sorted(new) == [0, COUNT]
    assert site.stored() == COUNT


def test_a_full_disk(site: Site) -> None:
    """The database may not grow any more, as on a full disk; what it holds stays."""
    measure_many(site.devices, site.library, site.database, 3, lambda done: None)
    full = (
        "import resource, runpy; from pathlib import Path;"
        f"size = Path({str(site.database)!r}).stat().st_size + 16384;"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size));"
        "runpy.run_module('tests.many_groups', run_name='__main__')"
    )
    words = [str(site.tracker), str(site.library), str(site.database), str(COUNT)]
    ended = subprocess.run(
        [sys.executable, "-c", full, *words], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    complaint = ended.stderr.splitlines()[-1]
    assert f"measurement database {site.database} cannot be used" in complaint, ended.stderr
    assert CostError.__name__ in complaint
    before = site.stored()
    assert 3 <= before < COUNT
    table = measure_many(site.devices, site.library, site.database, COUNT, lambda done: None)
    assert table.measured == COUNT - before
    assert site.stored() == COUNT
