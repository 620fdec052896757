"""Few bits a number, on a grid of the tensor's own or of each channel's, then compressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jointdnn_tvm.codec import nibbles
from jointdnn_tvm.codec.channels import channel_axis
from jointdnn_tvm.codec.frame import Frame
from jointdnn_tvm.codec.planes import Planes
from jointdnn_tvm.codec.quantise import Grid, dequantise, grid_of, quantise
from jointdnn_tvm.errors import CodecError

_NO_AXIS = 255
_PLANES = Planes()


@dataclass(frozen=True)
class Uniform:
    """So many `levels`, up to 256; `by_channel` with a grid for each channel, if there are any."""

    levels: int
    by_channel: bool = True

    @property
    def of_indices(self) -> tuple[str, ...]:
        """Codecs for the indices alone, where a compiled module makes them."""
        return ("nibbles",) if self._in_nibbles else ("planes", "rises")

    def axis(self, shape: Sequence[int]) -> int | None:
        """The axis with a grid for each index, or None for one grid."""
        return channel_axis(shape) if self.by_channel else None

    def encode(self, array: np.ndarray) -> tuple[bytes, bytes] | None:
        """The grid and the compressed indices; None where float32 has no grid for the numbers."""
        if not array.size:
            return None
        axis = self.axis(array.shape)
        grid = grid_of(array, axis, self.levels)
        if grid is None:
            return None
        parameters = bytes([_NO_AXIS if axis is None else axis])
        parameters += grid.low.astype("<f4").tobytes() + grid.step.astype("<f4").tobytes()
        indices = quantise(array, grid)
        encoded = nibbles.encode(indices) if self._in_nibbles else _PLANES.encode(indices)
        assert encoded is not None, "there are numbers, below the number of levels"
        return parameters, encoded[1]

    def decode(self, frame: Frame) -> np.ndarray:
        """The tensor, each number off by half a step at most."""
        grid = _read_grid(frame)
        indices = nibbles.decode(frame) if self._in_nibbles else _PLANES.decode(frame)
        return dequantise(indices, grid)

    @property
    def _in_nibbles(self) -> bool:
        """Bytes of which 2 bits are zero compress as well as packed ones; with 4 packing helps."""
        return self.levels <= 16


def _read_grid(frame: Frame) -> Grid:
    axis = frame.parameters[0] if frame.parameters else _NO_AXIS
    if axis != _NO_AXIS and axis >= len(frame.shape):
        raise CodecError(f"a tensor's frame is damaged: it has no axis {axis}")
    channels = 1 if axis == _NO_AXIS else frame.shape[axis]
    if not frame.count or len(frame.parameters) != 1 + 8 * channels:
        raise CodecError("a tensor's frame is damaged: its grid is not that of its shape")
    low, step = np.frombuffer(frame.parameters, "<f4", offset=1).reshape(2, channels)
    grid = Grid(None if axis == _NO_AXIS else axis, low, step)
    if not grid.usable.all():
        raise CodecError("a tensor's frame is damaged: its grid leaves float32")
    return grid
