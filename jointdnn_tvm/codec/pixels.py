"""A picture that was brought to floats: the bytes that it came from, exactly.

What reaches a network is mostly a picture of 8 bits a colour, scaled and shifted. In each channel
are then at most 256 different numbers, on an even grid. The frame holds these numbers and, for each
pixel, which it is: the first and the last colour as their difference from the second, which they
resemble, and all as the difference from the pixel above.
"""

from __future__ import annotations

import numpy as np

from jointdnn_tvm.codec.channels import channel_axis, is_image
from jointdnn_tvm.codec.compression import compress, decompress
from jointdnn_tvm.codec.frame import Frame
from jointdnn_tvm.errors import CodecError

_LEVELS = 256
_SAMPLE = 4096
_COLOURS = 3  # of which the second is green


def encode(array: np.ndarray) -> tuple[bytes, bytes] | None:
    """The numbers of each channel, and the compressed indices; None for what is no picture."""
    axis = channel_axis(array.shape)
    if axis is None or not is_image(array.shape):
        return None
    palettes = []
    indices = np.empty(np.moveaxis(array, axis, 0).shape, np.uint8)
    for channel, found in zip(np.moveaxis(array, axis, 0), indices, strict=True):
        palette = _index(channel, found)
        if palette is None:
            return None
        palettes.append(palette)
    used = int(indices.max()) + 1
    if len(indices) == _COLOURS:
        indices[::2] -= indices[1]
    indices[..., 1:, :] -= indices[..., :-1, :].copy()
    payload = compress(indices, indices[0].size)
    colours = np.stack(palettes)[:, :used].astype("<f4").tobytes()
    return (colours, payload) if len(colours) + len(payload) < array.nbytes else None


def decode(frame: Frame) -> np.ndarray:
    """The tensor, bit for bit."""
    axis = channel_axis(frame.shape)
    if axis is None or not is_image(frame.shape):
        raise CodecError(f"a tensor's frame is damaged: no picture has the shape {frame.shape}")
    channels = frame.shape[axis]
    used = len(frame.parameters) // (4 * channels)
    if not frame.parameters or len(frame.parameters) != 4 * channels * used:
        raise CodecError("a tensor's frame is damaged: its colours are not those of its shape")
    palettes = np.frombuffer(frame.parameters, "<f4").reshape(channels, used)
    array = np.empty(frame.shape, np.float32)
    turned = np.moveaxis(array, axis, 0)
    differences = decompress(frame.payload, frame.count).reshape(turned.shape)
    indices = np.add.accumulate(differences, axis=-2, dtype=np.uint8)
    if channels == _COLOURS:
        indices[::2] += indices[1]
    if indices.max() >= used:
        raise CodecError("a tensor's frame is damaged: it has a pixel of no colour")
    for palette, found, channel in zip(palettes, indices, turned, strict=True):
        channel[...] = palette[found]
    return array


def _index(channel: np.ndarray, found: np.ndarray) -> np.ndarray | None:
    """Fill in the index of each number; returns the numbers, or None where they are too many."""
    step = _step(channel)
    low = channel.min()
    if step is None or not np.isfinite(low):
        return None
    with np.errstate(all="ignore"):
        places = np.rint((channel - low) / step)
    if not places.max() < _LEVELS:  # NaN too
        return None
    np.copyto(found, places, casting="unsafe")
    palette = np.zeros(_LEVELS, np.float32)
    palette[found] = channel
    same = palette[found].view(np.uint32) == np.ascontiguousarray(channel).view(np.uint32)
    return palette if same.all() else None


def _step(channel: np.ndarray) -> np.float32 | None:
    """The least distance between numbers of a sample; None where they are too many for a byte."""
    flat = channel.reshape(-1)
    sample = np.unique(flat[:: max(1, flat.size // _SAMPLE)])
    if not len(sample) <= _LEVELS or not np.isfinite(sample).all():
        return None
    gap = np.diff(sample).min(initial=np.float32(np.inf))
    return np.float32(gap) if np.isfinite(gap) else np.float32(1)
