"""Frames: what they hold, and what is said of those that are none."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.codec.frame import Frame, read_frame
from jointdnn_tvm.errors import CodecError

FRAME = Frame("u8", "float32", (2, 3), b"scales", b"payload")


def test_there_and_back() -> None:
    found = read_frame(FRAME.to_bytes())
    assert (found.codec, found.dtype, found.shape) == ("u8", "float32", (2, 3))
    assert (found.parameters, bytes(found.payload)) == (b"scales", b"payload")
    assert (found.count, found.size_bytes) == (6, 24)


def test_payload_is_a_view() -> None:
    data = FRAME.to_bytes()
    payload = np.frombuffer(read_frame(data).payload, np.uint8)
    assert np.shares_memory(payload, np.frombuffer(data, np.uint8))


def test_scalar() -> None:
    found = read_frame(Frame("none", "int64", (), b"", b"12345678").to_bytes())
    assert (found.shape, found.size_bytes) == ((), 8)


@pytest.mark.parametrize("size", [0, 1, 8, 15])
def test_too_short(size: int) -> None:
    with pytest.raises(CodecError, match=f"^{size} bytes that should be a tensor's frame are none"):
        read_frame(FRAME.to_bytes()[:size])


def test_every_bit_counts() -> None:
    data = FRAME.to_bytes()
    for at in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises(CodecError):
            read_frame(damaged)


def test_cut_or_lengthened() -> None:
    data = FRAME.to_bytes()
    for damaged in (data[:-1], data + b"\0"):
        with pytest.raises(CodecError, match="its checksum differs"):
            read_frame(damaged)


def test_another_version() -> None:
    data = bytearray(FRAME.to_bytes())
    data[3] = 3
    with pytest.raises(CodecError, match="has version 3, this side reads 2; use the same version"):
        read_frame(data)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (Frame("u8", "float33", (2,), b"", b""), "no element type 'float33'"),
        (Frame("u8", "float32", (1 << 40,), b"", b""), "declares 4398046511104 bytes"),
        (Frame("u8", "float32", (0, 1 << 40), b"", b""), "declares the shape"),
        (Frame("u8", "float32", (1,) * 33, b"", b""), "its header is longer"),
    ],
)
def test_what_no_tensor_is(frame: Frame, why: str) -> None:
    with pytest.raises(CodecError, match=why):
        read_frame(frame.to_bytes())
