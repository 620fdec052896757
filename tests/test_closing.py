"""The end of a block closes, and hides no error."""

from __future__ import annotations

import pytest

from jointdnn_tvm.runtime.closing import Closing


class Door(Closing):
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_closed_once_at_the_end_of_a_block() -> None:
    with Door() as door:
        assert isinstance(door, Door)
        assert door.closed == 0
    assert door.closed == 1


def test_closed_after_an_error_that_goes_on() -> None:
    door = Door()
    with pytest.raises(ValueError, match="draught"), door:
        raise ValueError("draught")
    assert door.closed == 1
