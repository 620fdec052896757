"""Two numbers below 16 in a byte."""

from __future__ import annotations

import numpy as np


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
