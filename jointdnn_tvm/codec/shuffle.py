"""Bytes grouped by significance, then compressed: exact for every type.

The sign and exponent bytes of neighbouring numbers are alike, the low bytes of their mantissas are
noise; a compressor finds the one only when it does not see the other.
"""

from __future__ import annotations

import numpy as np

from jointdnn_tvm.codec.compression import compress, decompress
from jointdnn_tvm.codec.frame import Frame

_SAMPLE_BYTES = 1 << 13
_SAMPLES = 4
_WORTH = 1.05  # a smaller ratio does not pay for the time


def encode(array: np.ndarray) -> tuple[bytes, bytes] | None:
    """Parameters (none) and payload; None where a sample says that it does not pay."""
    flat = array.reshape(-1)
    if not flat.size or not _pays(flat):
        return None
    return b"", compress(shuffled(flat))


def decode(frame: Frame) -> np.ndarray:
    """The tensor, bit for bit."""
    dtype = np.dtype(frame.dtype)
    planes = decompress(frame.payload, frame.size_bytes).reshape(dtype.itemsize, -1)
    return unshuffled(planes, dtype).reshape(frame.shape)


def shuffled(flat: np.ndarray) -> np.ndarray:
    """Bytes by significance, one row each; a view where elements are bytes."""
    size = flat.dtype.itemsize
    if size == 1:
        return flat.view(np.uint8).reshape(1, -1)
    octets = flat.view(np.uint8).reshape(-1, size)
    planes = np.empty((size, flat.size), np.uint8)
    for index, plane in enumerate(planes):
        plane[:] = octets[:, index]
    return planes


def unshuffled(planes: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The numbers whose bytes these are."""
    if len(planes) == 1:
        whole: np.ndarray = planes[0].view(dtype)
        return whole
    octets = np.empty(planes.shape[::-1], np.uint8)
    for index, plane in enumerate(planes):
        octets[:, index] = plane
    flat: np.ndarray = octets.reshape(-1).view(dtype)
    return flat


def _pays(flat: np.ndarray) -> bool:
    count = _SAMPLE_BYTES // flat.dtype.itemsize
    if flat.size <= _SAMPLES * count:
        return True  # `encode` of the whole is as quick
    step = flat.size // _SAMPLES
    sample = np.concatenate([flat[i * step : i * step + count] for i in range(_SAMPLES)])
    return sample.nbytes > _WORTH * len(compress(shuffled(sample)))
