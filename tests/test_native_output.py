"""What C code writes past Python is silenced, and only meanwhile."""

from __future__ import annotations

import os

import pytest

from jointdnn_tvm.native_output import silenced


@pytest.mark.parametrize("descriptor", [1, 2])
def test_silent_meanwhile(descriptor: int, capfd: pytest.CaptureFixture[str]) -> None:
    with silenced(descriptor):
        os.write(descriptor, b"greeting")
    os.write(descriptor, b"after")
    assert capfd.readouterr()[descriptor - 1] == "after"


def test_heard_again_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="x"), silenced(1):
        raise ValueError("x")
    os.write(1, b"after")
    assert capfd.readouterr().out == "after"
