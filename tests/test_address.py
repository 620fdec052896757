import pytest

from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9190", Address("127.0.0.1", 9190)),
        (" phone.local:1 ", Address("phone.local", 1)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_reads_what_it_writes(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", "host", ":9190", "host:", "host:0", "host:65536", "host:+1", "::1:9190"],
)
def test_refuses_the_rest_in_one_line(text: str) -> None:
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1:9190") as caught:
        Address.parse(text)
    assert "\n" not in str(caught.value)


def test_knows_what_stays_on_this_machine() -> None:
    assert Address("127.1.2.3", 1).is_loopback
    assert Address("::1", 1).is_loopback
    assert Address("localhost", 1).is_loopback
    assert not Address("0.0.0.0", 1).is_loopback
