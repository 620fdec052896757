import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jointdnn_tvm.deploy.throttle import Throttle, period_s
from tests.deployment import children, eventually


@pytest.fixture
def busy() -> Iterator[int]:
    """A process that always has something to do."""
    with subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) as process:
        yield process.pid
        process.kill()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _running_share(pid: int, for_s: float) -> float:
    """Which part of the time a process may run, by looking often."""
    running_s = 0.0
    start = last = time.monotonic()
    was_running = _state(pid) != "T"
    while last - start < for_s:
        time.sleep(0.0003)
        now, is_running = time.monotonic(), _state(pid) != "T"
        running_s += (now - last) * (was_running + is_running) / 2
        last, was_running = now, is_running
    return running_s / (last - start)


@pytest.mark.parametrize("factor", [2, 8])
def test_runs_one_part_of_the_time(busy: int, factor: float) -> None:
    with Throttle(busy, factor):  # looking is disturbed by whatever else this machine does
        shares = [_running_share(busy, 0.3) for _ in range(5)]
    assert min(shares, key=lambda share: abs(share * factor - 1)) * factor == pytest.approx(1, 0.3)
    assert _running_share(busy, 0.1) == 1


def test_a_factor_of_one_does_nothing(busy: int) -> None:
    before = children(os.getpid())
    with Throttle(busy, 1):
        assert children(os.getpid()) == before
    with pytest.raises(ValueError, match=r"at least 1, not 0\.5"):
        Throttle(busy, 0.5)


def test_a_round_leaves_time_to_wake_up() -> None:
    assert period_s(2) == 0.008
    assert period_s(100) == pytest.approx(0.15)


@pytest.mark.parametrize("victim", ["keeper", "rhythm"])
@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_stays_stopped_when_it_dies(busy: int, victim: str, sig: signal.Signals) -> None:
    before = children(os.getpid())
    with Throttle(busy, 50):
        (keeper,) = set(children(os.getpid())).difference(before)
        (rhythm,) = children(keeper)
        assert eventually(lambda: _state(busy) == "T")
        os.kill(keeper if victim == "keeper" else rhythm, sig)
        assert eventually(lambda: not Path(f"/proc/{rhythm}").exists())
        assert eventually(lambda: _state(keeper) == "Z")
        assert _running_share(busy, 0.2) == 1


def test_nothing_stays_stopped_when_its_owner_is_killed(busy: int) -> None:
    script = (
        "import sys; from jointdnn_tvm.deploy.throttle import Throttle;"
        f"Throttle({busy}, 50).start(); print('slow', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"slow\n"
        (keeper,) = children(owner.pid)
        assert eventually(lambda: _state(busy) == "T")
        owner.kill()
    assert eventually(lambda: not Path(f"/proc/{keeper}").exists())
    assert _running_share(busy, 0.2) == 1


def test_a_process_that_is_gone() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with Throttle(process.pid, 4):
        pass


def test_ends_with_its_target(busy: int) -> None:
    before = children(os.getpid())
    with Throttle(busy, 4):
        (keeper,) = set(children(os.getpid())).difference(before)
        os.kill(busy, signal.SIGKILL)
        assert eventually(lambda: _state(keeper) == "Z")
