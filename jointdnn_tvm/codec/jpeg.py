"""A picture as JPEG, on 256 even steps: for inputs, where Pillow is installed.

JPEG is for bytes, one grid for all colours. A frame holds the numbers where each colour begins, the
step, and the JPEG file.
"""

from __future__ import annotations

import importlib.util
import io

import numpy as np

from jointdnn_tvm.codec.channels import channel_axis, is_image
from jointdnn_tvm.codec.frame import Frame
from jointdnn_tvm.codec.quantise import Grid, dequantise, grid_of, quantise
from jointdnn_tvm.errors import CodecError

HAS_PILLOW = importlib.util.find_spec("PIL") is not None

_QUALITY = 95
_COLOURS = 3


def encode(array: np.ndarray) -> tuple[bytes, bytes] | None:
    """Where the colours begin and the step, and the file; None for what is no picture."""
    from PIL import Image

    axis = channel_axis(array.shape)
    if axis is None or not _is_for(array.shape):
        return None
    own = grid_of(array, axis, 256)
    if own is None:
        return None
    grid = Grid(axis, own.low, np.full_like(own.step, own.step.max()))
    if not grid.usable.all():
        return None
    picture = np.moveaxis(quantise(array, grid)[0], axis - 1, -1)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", quality=_QUALITY)
    return np.append(grid.low, grid.step[0]).astype("<f4").tobytes(), file.getvalue()


def decode(frame: Frame) -> np.ndarray:
    """The tensor, each number off by what JPEG and half a step make of it."""
    axis = channel_axis(frame.shape)
    if axis is None or not _is_for(frame.shape) or len(frame.parameters) != 4 * (_COLOURS + 1):
        raise CodecError(f"a tensor's frame is damaged: no picture has the shape {frame.shape}")
    *low, step = np.frombuffer(frame.parameters, "<f4")
    grid = Grid(axis, np.array(low), np.full(_COLOURS, step, np.float32))
    if not grid.usable.all():
        raise CodecError("a tensor's frame is damaged: its grid leaves float32")
    sizes = frame.shape[1:axis] + frame.shape[axis + 1 :]
    picture = np.moveaxis(_read(bytes(frame.payload), sizes), -1, axis - 1)[None]
    return dequantise(np.ascontiguousarray(picture), grid)


def _is_for(shape: tuple[int, ...]) -> bool:
    axis = channel_axis(shape)
    return axis is not None and is_image(shape) and shape[0] == 1 and shape[axis] == _COLOURS


def _read(file: bytes, sizes: tuple[int, ...]) -> np.ndarray:
    """The bytes of a JPEG file (height, width, colours); CodecError unless it has these sizes."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(file), formats=["JPEG"]) as image:
            if (image.mode, image.size) != ("RGB", sizes[::-1]):
                raise CodecError(f"a tensor's payload is a picture of {image.size}, not {sizes}")
            return np.asarray(image)
    except CodecError:
        raise
    except Exception as error:  # Pillow has many kinds
        raise CodecError(f"a tensor's payload is damaged: {error}") from error
