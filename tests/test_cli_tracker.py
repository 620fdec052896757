import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jointdnn_tvm.cli import tracker
from tests.deployment import device_server, eventually, group_members, running


def _jointdnn(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jointdnn_tvm.cli", "tracker", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_shows_who_is_registered(tmp_path: Path) -> None:
    with running("tracker", "--port", "0") as (_, address):
        assert _jointdnn("--status", str(address)).stdout == "no device is registered\n"
        words = ("--tracker", str(address), "--key", "phone")
        with device_server(tmp_path, *words) as (_, device):
            status = json.loads(_jointdnn("--status", str(address), "--json").stdout)
            table = _jointdnn("--status", str(address)).stdout
    expected = {"servers": 1, "free": 1, "waiting": 0, "addresses": [str(device)]}
    assert status == {"keys": {"phone": expected}}
    assert table.splitlines()[1].split() == ["phone", "1", "1", "0", str(device)]


def test_counts_those_who_wait_for_a_key_that_nobody_serves() -> None:
    summary = {"queue_info": {"tv": {"free": 0, "pending": 2}}, "server_info": []}
    status = tracker._status(summary)
    assert status["keys"]["tv"] == {"servers": 0, "free": 0, "waiting": 2, "addresses": []}


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_ends_cleanly(sig: signal.Signals) -> None:
    with running("tracker", "--port", "0") as (server, _):
        assert len(group_members(server.pid)) == 1
        os.kill(server.pid, sig)
        assert eventually(lambda: not group_members(server.pid))
        assert server.log() == ""


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--status", "127.0.0.1:1"), "no tracker at 127.0.0.1:1 (Connection refused)"),
        (("--status", "nonsense"), "'nonsense' is not an address"),
        (("--host", "203.0.113.1"), "cannot listen at 203.0.113.1:9190"),
    ],
)
def test_complains_in_one_line(words: tuple[str, ...], complaint: str) -> None:
    done = _jointdnn(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("jointdnn: error: ")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_port_that_is_taken() -> None:
    with running("tracker", "--port", "0") as (_, address):
        assert "Address already in use" in _jointdnn("--port", str(address.port)).stderr
