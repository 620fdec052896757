"""Which axis of a tensor holds its channels: numbers of one channel have a range of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence

_MOST_COLOURS = 4
_FEWEST_A_CHANNEL = 16  # so that a channel's two parameters do not count


def channel_axis(shape: Sequence[int]) -> int | None:
    """The axis of the channels, or None where there are too few numbers a channel.

    Tensors between groups have their channels last; a network's input may be an image that has its
    few colours before its rows.
    """
    if not shape or not math.prod(shape):
        return None
    colours_first = len(shape) == 4 and shape[1] <= _MOST_COLOURS < shape[3]
    axis = 1 if colours_first else len(shape) - 1
    return axis if math.prod(shape) >= _FEWEST_A_CHANNEL * shape[axis] else None


def is_image(shape: Sequence[int]) -> bool:
    """Whether a shape may be that of a batch of pictures."""
    axis = channel_axis(shape)
    return len(shape) == 4 and axis is not None and shape[axis] <= _MOST_COLOURS
