"""Windows that slide over an image, channels in vectors: what depthwise kernels and pools share.

A tile is a few neighbouring results of one row. Those whose windows reach over the left or right
border are tiles of their own, written without what falls outside; rows outside are skipped. So
nothing is padded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.convolution import Convolution
from jointdnn_tvm.targets import TargetProfile

_TASKS_A_CORE = 4


@dataclass(frozen=True)
class WindowTile:
    """`count` results of row `y` from `column` on; an integer column is one near a border."""

    convolution: Convolution
    image: Any
    y: Any
    column: Any
    count: int

    def is_inside(self, pixel: int, kx: int) -> bool:
        """Whether a number of a window lies within the input from left to right."""
        if not isinstance(self.column, int):
            return True
        conv = self.convolution
        place = (self.column + pixel) * conv.strides[1] - conv.padding[1]
        return 0 <= place + kx * conv.dilation[1] < conv.image[2]

    def inside(self, pixel: int) -> list[int]:
        """The columns of a result's window that lie within the input."""
        return [kx for kx in range(self.convolution.kernel[1]) if self.is_inside(pixel, kx)]

    def reach(self, pixel: int, kx: int) -> int:
        """How far right of the tile's first window a number lies."""
        return pixel * self.convolution.strides[1] + kx * self.convolution.dilation[1]

    def rows(self, body: Callable[[Any, Callable[[int], Any]], Iterable[Any]]) -> Any:
        """What to do for each row of the windows within the input.

        `body` gets the row's number, and the place in a flat image of channel 0 of the number
        that lies so far right of the first window.
        """
        conv = self.convolution
        _, height, width, channels = conv.image
        down, dilation, above = conv.strides[0], conv.dilation[0], conv.padding[0]
        lowest = (conv.output[1] - 1) * down - above + (conv.kernel[0] - 1) * dilation

        def row(ky: Any) -> list[Any]:
            source = self.y * down - above + ky * dilation
            first = (self.image * height + source) * width
            first += self.column * conv.strides[1] - conv.padding[1]
            base, see = emit.bind("base", first)
            steps = [see, *body(ky, lambda right: (base + right) * channels)]
            if above == 0 and lowest < height:
                return steps
            return [emit.when(tirx.all(source >= 0, source < height), *steps)]

        return emit.serial(conv.kernel[0], row, "ky")

    def place(self, pixel: int) -> tuple[Any, Any, Any]:
        """Image, row and column of a result."""
        return self.image, self.y, self.column + emit.number(pixel)


Write = Callable[[WindowTile, Any, int], Iterable[Any]]
"""The statements of a tile for one vector: its first channel and its number of lanes."""


def in_tiles(conv: Convolution, pixels: int, profile: TargetProfile, write: Write) -> Any:
    """All results of a convolution in tiles of up to `pixels`.

    Threads share out the rows, and the channels where rows are few.
    """
    n, height, _, channels = conv.output
    rows = n * height
    wanted = -(-_TASKS_A_CORE * profile.cores // rows) if profile.cores > 1 else 1
    lanes = profile.lanes
    vectors = -(-channels // lanes)
    block = min(channels, -(-vectors // wanted) * lanes)
    blocks = -(-channels // block)

    def task(index: Any) -> list[Any]:
        row, see_row = emit.bind("row", index // blocks)
        image, y = emit.unravel(row, (n, height))

        def tile(channel: Any, first: Any, count: int) -> list[Any]:
            place = WindowTile(conv, image, y, first, count)
            return emit.in_vectors(
                block, lanes, lambda lane, width: write(place, channel + lane, width)
            )

        if blocks == 1:
            return [see_row, *_row(conv, pixels, functools.partial(tile, emit.number(0)))]
        channel, see = emit.bind("channel", tirx.min(index % blocks * block, channels - block))
        return [see_row, see, *_row(conv, pixels, functools.partial(tile, channel))]

    return emit.parallel(rows * blocks, task, "row")


def _row(
    conv: Convolution, pixels: int, tile: Callable[[Any, int], Iterable[Any]]
) -> Iterator[Any]:
    """The tiles of one row, those within the input in a loop."""
    first, end = _inner_columns(conv)
    for start, count in _pieces(0, first, pixels):
        yield from tile(start, count)
    if first < end:
        count = min(pixels, end - first)
        tiles = -(-(end - first) // count)

        def inner(index: Any) -> list[Any]:
            last = emit.number(end - count)
            column, see = emit.bind("column", tirx.min(index * count + first, last))
            return [see, *tile(column, count)]

        yield emit.serial(tiles, inner, "tile")
    for start, count in _pieces(end, conv.output[2], pixels):
        yield from tile(start, count)


def _inner_columns(conv: Convolution) -> tuple[int, int]:
    """The results whose windows lie inside the input from left to right."""
    stride, width = conv.strides[1], conv.image[2]
    reach = (conv.kernel[1] - 1) * conv.dilation[1]
    first = min(-(-conv.padding[1] // stride), conv.output[2])
    end = min((width - 1 - reach + conv.padding[1]) // stride + 1, conv.output[2])
    return first, max(first, end)


def _pieces(first: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    for start in range(first, end, most):
        yield start, min(most, end - start)
