"""What frames of a quantised tensor hold, and grids that are not the shape's."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.codec.frame import Frame
from jointdnn_tvm.codec.uniform import Uniform
from jointdnn_tvm.errors import CodecError
from tests.hard_arrays import hard_array

SHAPE = (1, 9, 9, 16)


def encoded(codec: Uniform) -> tuple[bytes, bytes]:
    found = codec.encode(hard_array("normal", SHAPE))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("codec", "size"), [(Uniform(256), 1 + 8 * 16), (Uniform(16, by_channel=False), 1 + 8)]
)
def test_parameters_are_axis_and_grid(codec: Uniform, size: int) -> None:
    parameters, _ = encoded(codec)
    assert len(parameters) == size
    assert parameters[0] == (3 if codec.by_channel else 255)


def test_few_numbers_have_one_grid() -> None:
    found = Uniform(256).encode(hard_array("normal", (1, 512)))
    assert found is not None
    assert len(found[0]) == 9


def test_no_numbers() -> None:
    assert Uniform(256).encode(np.zeros((0, 3), np.float32)) is None


@pytest.mark.parametrize("parameters", [b"", b"\xff", b"\x03" + bytes(8), b"\x04" + bytes(128)])
def test_grid_of_another_shape(parameters: bytes) -> None:
    _, payload = encoded(Uniform(256))
    with pytest.raises(CodecError, match="frame is damaged: "):
        Uniform(256).decode(Frame("u8", "float32", SHAPE, parameters, payload))


def test_payload_of_another_size() -> None:
    parameters, payload = encoded(Uniform(256))
    with pytest.raises(CodecError, match="does not hold 648 bytes"):
        Uniform(16).decode(Frame("u4", "float32", SHAPE, parameters, payload))
