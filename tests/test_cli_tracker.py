import json
import os
import signal
from pathlib import Path

import pytest

from jointdnn_tvm.cli import main, tracker
from jointdnn_tvm.runtime.address import Address
from tests.deployment import device_server, eventually, group_members, running


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb settles how TVM is loaded, for its own process."""
    monkeypatch.setattr(os, "environ", dict(os.environ))


def _status(address: Address, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["tracker", "--status", str(address), *words]) == 0
    return capsys.readouterr().out


def test_shows_who_is_registered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running("tracker", "--port", "0") as (_, address):
        assert _status(address, capsys) == "no device is registered\n"
        words = ("--tracker", str(address), "--key", "phone")
        with device_server(tmp_path, *words) as (_, device):
            status = json.loads(_status(address, capsys, "--json"))
            table = _status(address, capsys)
        assert main(["tracker", "--port", str(address.port)]) == 1
    assert "Address already in use" in capsys.readouterr().err
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
def test_complains_in_one_line(
    words: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tracker", *words]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("jointdnn: error: ")
    assert complaint in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
