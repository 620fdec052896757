"""Bytes channel by channel, compressed: those of one channel are alike, those of others are not.

For the indices that compiled modules make. A few channels at a time share an entropy code. `rising`
sends, in place of each row of pixels, what it is above the row before: smaller where neighbours are
alike, as they are in early layers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jointdnn_tvm.codec.channels import channel_axis
from jointdnn_tvm.codec.compression import compress, decompress
from jointdnn_tvm.codec.frame import Frame
from jointdnn_tvm.errors import CodecError

_BLOCK_BYTES = 1 << 15  # smaller ones compress better by a percent, for a quarter more time
_APART = 64  # bytes; planes a power of two apart would push one another out of the cache
_NARROWEST_ROW = 64  # bytes; rows are summed one by one


@dataclass(frozen=True)
class Planes:
    """`rising`: each row as its difference from the one before."""

    rising: bool = False

    def encode(self, array: np.ndarray) -> tuple[bytes, bytes] | None:
        """Parameters (none) and payload; None without bytes, and where rows are too short."""
        if not self._is_for(array.shape):
            return None
        planes = to_planes(_risen(array) if self.rising else array)
        return b"", compress(planes, whole_planes(planes.shape[1]))

    def decode(self, frame: Frame) -> np.ndarray:
        """The bytes again."""
        if not self._is_for(frame.shape):
            raise CodecError(f"a tensor's frame is damaged: {frame.codec} of shape {frame.shape}")
        array = from_planes(decompress(frame.payload, frame.count), frame.shape)
        return _summed(array) if self.rising else array

    def _is_for(self, shape: Sequence[int]) -> bool:
        least = _NARROWEST_ROW if self.rising else 1
        return bool(math.prod(shape)) and _row_bytes(shape) >= least


def to_planes(array: np.ndarray) -> np.ndarray:
    """Bytes as (channels, numbers of each); one channel where the shape has none."""
    axis = channel_axis(array.shape)
    if axis is None:
        return array.reshape(1, -1)
    return np.ascontiguousarray(np.moveaxis(array, axis, 0)).reshape(array.shape[axis], -1)


def from_planes(planes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The bytes in their shape, from those of `to_planes` in any shape."""
    axis = channel_axis(shape)
    if axis is None:
        return planes.reshape(shape)
    planes = planes.reshape(shape[axis], -1)
    apart = np.empty((shape[axis], planes.shape[1] + _APART), np.uint8)
    apart[:, : planes.shape[1]] = planes
    turned = apart[:, : planes.shape[1]].reshape(shape[axis], *shape[:axis], *shape[axis + 1 :])
    return np.ascontiguousarray(np.moveaxis(turned, 0, axis))


def whole_planes(plane_bytes: int) -> int:
    """How many bytes to compress with one entropy code: those of a channel, or of several."""
    return max(1, _BLOCK_BYTES // plane_bytes) * plane_bytes


def _row_bytes(shape: Sequence[int]) -> int:
    """Of what lies in one row of a picture, or at one step of a sequence."""
    return math.prod(shape[-2:] if len(shape) > 3 else shape[-1:])


def _risen(array: np.ndarray) -> np.ndarray:
    rows = array.reshape(-1, _row_bytes(array.shape))
    risen = rows.copy()
    np.subtract(rows[1:], rows[:-1], out=risen[1:])
    return risen.reshape(array.shape)


def _summed(array: np.ndarray) -> np.ndarray:
    array = np.require(array, None, "W")
    rows = array.reshape(-1, _row_bytes(array.shape))
    for above, row in itertools.pairwise(rows):
        np.add(row, above, out=row)
    return array
