import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jointdnn_tvm.cost.device import describe_device
from jointdnn_tvm.deploy import loopback
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.remote import request
from jointdnn_tvm.runtime.tracker_client import tracker_summary
from tests.deployment import children, eventually, group_members


def test_both_devices_are_there_and_then_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = children(os.getpid())
    groups: set[int] = set()
    lab = LoopbackLab("raspberry-pi-4", "host", slowdown=2)

    def work() -> None:
        with lab:
            groups.update(set(children(os.getpid())).difference(before))
            with request(lab.tracker, lab.mobile_key, 20) as session:
                device = describe_device(session)
                assert (device.target, device.slowdown) == ("raspberry-pi-4", 2)
                assert session.address == lab.address(lab.mobile_key)
            with request(lab.tracker, lab.cloud_key, 20) as session:
                device = describe_device(session)
                assert (device.target, device.slowdown) == ("host", 1)
            assert "session of" in lab.log(lab.cloud_key)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert len(groups) == 3
    assert not any(map(group_members, groups))
    assert not list(tmp_path.iterdir())
    with pytest.raises(DeviceError, match="no tracker at"):
        tracker_summary(lab.tracker)


def test_says_why_a_server_does_not_start() -> None:
    before = children(os.getpid())
    with pytest.raises(
        DeviceError, match=r"the mobile device server ended at once: .*no-such-board"
    ):
        LoopbackLab("no-such-board").__enter__()
    assert set(children(os.getpid())) <= set(before)


def test_says_what_a_server_said_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "_COMMAND", ("-c", "print('hello')"))
    with pytest.raises(DeviceError, match="the tracker said 'hello': it left no log"):
        LoopbackLab().__enter__()


def test_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "_COMMAND", ("-c", "import sys; sys.stdin.read()"))
    monkeypatch.setattr(loopback, "_START_S", 0.2)
    with pytest.raises(DeviceError, match=r"the tracker was not ready within 0\.2 s"):
        LoopbackLab().__enter__()


SCRIPT = """
from jointdnn_tvm.deploy.loopback import LoopbackLab
with LoopbackLab():
    print("up", flush=True)
    input()
"""


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_its_owner(tmp_path: Path, sig: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        groups = children(owner.pid)
        assert len(groups) == 3
        owner.send_signal(sig)
    assert eventually(lambda: not any(map(group_members, groups)))
    assert not list(tmp_path.iterdir())
