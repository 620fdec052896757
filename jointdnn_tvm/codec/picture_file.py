"""A picture as a file of its bytes, for inputs, where Pillow is installed.

A frame holds where each colour begins and its step, and the file.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from jointdnn_tvm.codec.channels import channel_axis, is_image
from jointdnn_tvm.codec.frame import Frame
from jointdnn_tvm.codec.quantise import Grid, dequantise, grid_of, quantise
from jointdnn_tvm.errors import CodecError

HAS_PILLOW = importlib.util.find_spec("PIL") is not None

_COLOURS = 3


@dataclass(frozen=True)
class PictureFile:
    """Files of a `kind` that Pillow knows, written with its `options`."""

    kind: str
    options: Mapping[str, int] = field(default_factory=dict)

    def encode(self, array: np.ndarray) -> tuple[bytes, bytes] | None:
        """Where the colours begin and their steps, and the file; None for what is no picture."""
        from PIL import Image

        axis = _colours_axis(array.shape)
        found = None if axis is None else self.to_bytes(array, axis)
        if found is None:
            return None
        grid, picture = found
        file = io.BytesIO()
        Image.fromarray(picture).save(file, self.kind, **self.options)
        return np.append(grid.low, grid.step).astype("<f4").tobytes(), file.getvalue()

    def to_bytes(self, array: np.ndarray, axis: int) -> tuple[Grid, np.ndarray] | None:
        """The picture (height, width, colours) on 256 steps, alike for all colours."""
        own = grid_of(array, axis, 256)
        if own is None:
            return None
        grid = Grid(axis, own.low, np.full_like(own.step, own.step.max()))
        if not grid.usable.all():
            return None
        return grid, _colours_last(quantise(array, grid), axis)

    def decode(self, frame: Frame) -> np.ndarray:
        """The tensor, each number off by what the file and half a step leave."""
        axis = _colours_axis(frame.shape)
        if axis is None or len(frame.parameters) != 8 * _COLOURS:
            raise CodecError(f"a tensor's frame is damaged: no picture has the shape {frame.shape}")
        grid = Grid(axis, *np.frombuffer(frame.parameters, "<f4").reshape(2, _COLOURS))
        if not grid.usable.all():
            raise CodecError("a tensor's frame is damaged: its grid leaves float32")
        sizes = frame.shape[1:axis] + frame.shape[axis + 1 :]
        picture = self._read(bytes(frame.payload), sizes)
        turned = np.moveaxis(picture, -1, axis - 1)[None]
        return dequantise(np.ascontiguousarray(turned), grid)

    def _read(self, file: bytes, sizes: tuple[int, ...]) -> np.ndarray:
        """The bytes (height, width, colours); CodecError unless the picture has these sizes."""
        from PIL import Image

        try:
            with Image.open(io.BytesIO(file), formats=[self.kind]) as image:
                if (image.mode, image.size) != ("RGB", sizes[::-1]):
                    raise CodecError(
                        f"a tensor's payload is a picture of {image.size}, not {sizes[::-1]}"
                    )
                return np.asarray(image)
        except CodecError:
            raise
        except Exception as error:  # Pillow has many kinds
            raise CodecError(f"a tensor's payload is damaged: {error}") from error


JPEG = PictureFile("JPEG", {"quality": 95})


def _colours_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of the three colours of one picture, or None."""
    axis = channel_axis(shape)
    fits = axis is not None and is_image(shape) and shape[0] == 1 and shape[axis] == _COLOURS
    return axis if fits else None


def _colours_last(indices: np.ndarray, axis: int) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(indices[0], axis - 1, -1))
