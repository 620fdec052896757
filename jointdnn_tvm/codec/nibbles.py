"""Two numbers below 16 in a byte, compressed: exact for bytes that hold no larger ones."""

from __future__ import annotations

import numpy as np

from jointdnn_tvm.codec.compression import compress, decompress
from jointdnn_tvm.codec.frame import Frame
from jointdnn_tvm.codec.planes import from_planes, to_planes, whole_planes

_MOST = 15


def encode(array: np.ndarray) -> tuple[bytes, bytes] | None:
    """Parameters (none) and payload; None where a byte is 16 or more."""
    if not array.size or array.max() > _MOST:
        return None
    planes = to_planes(array)
    return b"", compress(pack(planes), whole_planes((planes.shape[1] + 1) // 2))


def decode(frame: Frame) -> np.ndarray:
    """The bytes again."""
    packed = decompress(frame.payload, (frame.count + 1) // 2)
    return from_planes(unpack(packed, frame.count), frame.shape)


def pack(indices: np.ndarray) -> np.ndarray:
    """Flat bytes, half as many; every index is below 16."""
    flat = indices.reshape(-1)
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    pairs = flat.view("<u2")
    packed: np.ndarray = ((pairs >> 4) | pairs).astype(np.uint8)
    return packed


def unpack(packed: np.ndarray, count: int) -> np.ndarray:
    """The `count` numbers again, flat."""
    pairs = packed.astype("<u2")
    flat: np.ndarray = ((pairs | (pairs << 4)) & 0x0F0F).astype("<u2").view(np.uint8)[:count]
    return flat
