import socket

import pytest

from jointdnn_tvm.deploy.sockets import listen, warn_if_exposed
from jointdnn_tvm.errors import DeviceError


def test_warns_when_others_can_reach_it(capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        warn_if_exposed(host, "run any code")
    assert capsys.readouterr().err == ""
    for host in ("0.0.0.0", "::", "192.168.1.2"):
        warn_if_exposed(host, "run any code")
        assert f"listening at {host}: whoever reaches this port can run any code" in (
            capsys.readouterr().err
        )


def test_listens_again_at_once() -> None:
    with listen("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), listener.accept()[0]:
            pass
    listen(*address).close()


@pytest.mark.parametrize(
    ("host", "port"), [("203.0.113.1", 0), ("127.0.0.1", 70000), ("no-such-host.invalid", 0)]
)
def test_says_where_it_cannot_listen(host: str, port: int) -> None:
    with pytest.raises(DeviceError, match=f"cannot listen at {host}:{port} .*choose another"):
        listen(host, port)
