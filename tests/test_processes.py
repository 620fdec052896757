import os
import select
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from jointdnn_tvm.deploy.processes import close_all
from tests.deployment import eventually, is_gone


def _run(body: str) -> "subprocess.Popen[str]":
    """A process of one thread, which may fork."""
    program = "import os, time\nfrom jointdnn_tvm.deploy.processes import fork\n"
    command = [sys.executable, "-c", program + textwrap.dedent(body)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("work", "end", "log"),
    [
        ("None", "exit code 0", ""),
        ("os._exit(7)", "exit code 7", ""),
        ("os.abort()", "killed by SIGABRT", ""),
        ("int('x\\ny')", "exit code 1", "jointdnn: ValueError: invalid literal"),
    ],
)
def test_says_how_a_child_ended(work: str, end: str, log: str) -> None:
    with _run(f"""
        child = fork(lambda: {work!s})
        assert os.read(child.alive, 1) == b""
        print(child.end())
    """) as process:
        said, errors = process.communicate(timeout=60)
    assert said == f"{end}\n"
    assert errors.startswith(log)
    assert errors.count("\n") == bool(log)


def test_ends_a_child_that_goes_on() -> None:
    with _run("print(fork(lambda: time.sleep(60)).end())") as process:
        assert process.communicate(timeout=60)[0] == "killed by SIGKILL\n"


def test_a_child_dies_with_its_parent() -> None:
    with _run("print(fork(lambda: time.sleep(60)).pid, flush=True); time.sleep(60)") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert not is_gone(pid)
        process.send_signal(signal.SIGKILL)
        assert eventually(lambda: is_gone(pid))


def test_closes_all_but_one() -> None:
    kept, closed = socket.socketpair()
    fd, other = os.pipe()
    close_all([kept, closed, fd, other], but=kept)
    assert closed.fileno() == -1
    assert select.select([kept], [], [], 5)[0]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    kept.close()
