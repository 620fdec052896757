"""Half precision, compressed as `shuffle` does."""

from __future__ import annotations

import numpy as np

from jointdnn_tvm.codec.compression import compress, decompress
from jointdnn_tvm.codec.frame import Frame
from jointdnn_tvm.codec.shuffle import shuffled, unshuffled


def encode(array: np.ndarray) -> tuple[bytes, bytes] | None:
    """Parameters (none) and payload; None where a number is too large for half precision."""
    with np.errstate(over="ignore"):
        halves = array.reshape(-1).astype(np.float16)
    if np.isinf(halves).any() and not np.array_equal(np.isinf(halves), np.isinf(array.reshape(-1))):
        return None
    return b"", compress(shuffled(halves))


def decode(frame: Frame) -> np.ndarray:
    """The tensor, each number rounded to 11 significant bits."""
    planes = decompress(frame.payload, 2 * frame.count).reshape(2, -1)
    halves = unshuffled(planes, np.dtype(np.float16))
    return halves.astype(np.float32).reshape(frame.shape)
