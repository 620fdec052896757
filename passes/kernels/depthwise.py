"""Depthwise convolutions: every channel by itself, a vector of channels at a time.

A tile is a few neighbouring pixels of one row; each input vector that it loads serves all of
them. Pixels whose windows reach over the left or right border are tiles of their own, written
without the products that fall outside; rows outside are skipped. So nothing is padded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tvm import te, tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.convolution import Convolution, read_convolution
from jointdnn_tvm.passes.kernels.site import KERNEL, Site
from jointdnn_tvm.targets import TargetProfile

_TASKS_A_CORE = 4
_MOST_PIXELS = 8


@dataclass(frozen=True)
class Depthwise:
    """A convolution with as many groups as channels in and out."""

    convolution: Convolution

    name = "depthwise"

    def packing(self, profile: TargetProfile) -> None:
        """Weights of (KH, KW, 1, C) lie well as they are."""

    def compute(self, x: te.Tensor, w: te.Tensor) -> te.Tensor:
        """What is meant."""
        conv = self.convolution
        _, h, wd, _ = conv.image
        kh, kw = conv.kernel[:2]
        ky, kx = te.reduce_axis((0, kh), "ky"), te.reduce_axis((0, kw), "kx")

        def product(n: Any, y: Any, z: Any, c: Any) -> Any:
            row = y * conv.strides[0] + ky * conv.dilation[0] - conv.padding[0]
            col = z * conv.strides[1] + kx * conv.dilation[1] - conv.padding[1]
            inside = tirx.all(row >= 0, row < h, col >= 0, col < wd)
            value = tirx.if_then_else(inside, x[n, row, col, c], emit.zero())
            return te.sum(value * w[ky, kx, 0, c], axis=[ky, kx])

        attributes = {KERNEL: self.name, **conv.options}
        return te.compute(conv.output, product, "depthwise", attrs=attributes)


def emit_depthwise(site: Site, profile: TargetProfile) -> list[Any]:
    """Statements for a block that `Depthwise.compute` made."""
    x, w = site.operands
    convolution = read_convolution(x, w.shape, site.options)
    return _Writer(convolution, site, profile).statements()


class _Writer:
    """The statements of one convolution."""

    def __init__(self, convolution: Convolution, site: Site, profile: TargetProfile) -> None:
        self._conv = convolution
        self._site = site
        self._profile = profile
        x, w = site.operands
        (self._x, see_x), (self._w, see_w) = emit.flat(x), emit.flat(w)
        self._views = [see_x, see_w]

    @cached_property
    def _pixels(self) -> int:
        """Of a tile: as many as leave registers for the weights of a row and one input."""
        spare = self._profile.vector_registers - self._conv.kernel[1] - 2
        return max(1, min(spare, _MOST_PIXELS))

    def statements(self) -> list[Any]:
        """Threads share out the rows, and the channels where rows are few."""
        n, height, _, channels = self._conv.output
        rows = n * height
        wanted = -(-_TASKS_A_CORE * self._profile.cores // rows) if self._profile.cores > 1 else 1
        lanes = self._profile.lanes
        block = -(-channels // lanes // wanted) * lanes if channels >= lanes * wanted else channels
        blocks = -(-channels // block)

        def task(index: Any) -> list[Any]:
            row, see_row = emit.bind("row", index // blocks)
            if blocks == 1:
                return [see_row, *self._row(row, emit.number(0), channels)]
            first, see_first = emit.bind(
                "channel", tirx.min(index % blocks * block, channels - block)
            )
            return [see_row, see_first, *self._row(row, first, block)]

        return [*self._views, emit.parallel(rows * blocks, task, "row")]

    def _row(self, row: Any, channel: Any, channels: int) -> list[Any]:
        """One row of outputs, for some of the channels."""
        inner_first, inner_end = self._inner_columns()
        statements: list[Any] = []
        for first, count in self._pieces(0, inner_first):
            statements += self._tile(row, first, count, channel, channels)
        count = min(self._pixels, inner_end - inner_first)
        if count > 0:
            last = inner_end - count

            def tile(index: Any) -> list[Any]:
                column, see = emit.bind(
                    "column", tirx.min(index * count + inner_first, emit.number(last))
                )
                return [see, *self._tile(row, column, count, channel, channels)]

            statements.append(emit.serial(-(-(inner_end - inner_first) // count), tile, "tile"))
        for first, count in self._pieces(inner_end, self._conv.output[2]):
            statements += self._tile(row, first, count, channel, channels)
        return statements

    def _inner_columns(self) -> tuple[int, int]:
        """The outputs whose windows lie inside the input from left to right."""
        conv = self._conv
        stride, width = conv.strides[1], conv.image[2]
        reach = (conv.kernel[1] - 1) * conv.dilation[1]
        first = min(-(-conv.padding[1] // stride), conv.output[2])
        end = min((width - 1 - reach + conv.padding[1]) // stride + 1, conv.output[2])
        return first, max(first, end)

    def _pieces(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        for start in range(first, end, self._pixels):
            yield start, min(self._pixels, end - start)

    def _tile(self, row: Any, column: Any, count: int, channel: Any, channels: int) -> list[Any]:
        """`count` outputs from `column` on; an integer column is one near a border."""
        conv = self._conv
        n_images, height = conv.output[:2]
        image, y = emit.unravel(row, (n_images, height))
        top = y * conv.strides[0] - conv.padding[0]

        def vector(first: Any, lanes: int) -> list[Any]:
            sums, take = emit.allocate("sums", count * lanes)

            def at(pixel: int, lane: Any) -> Any:
                return lane + pixel * lanes

            def products(ky: Any) -> list[Any]:
                source = top + ky * conv.dilation[0]
                base, see = emit.bind("base", (image * conv.image[1] + source) * conv.image[2])
                return [
                    emit.when(
                        tirx.all(source >= 0, source < conv.image[1]),
                        see,
                        *[
                            product(ky, kx, pixel, base)
                            for kx in range(conv.kernel[1])
                            for pixel in range(count)
                            if self._is_inside(column, pixel, kx)
                        ],
                    )
                ]

            def product(ky: Any, kx: int, pixel: int, base: Any) -> Any:
                shift = kx * conv.dilation[1] - conv.padding[1] + pixel * conv.strides[1]
                place = base + column * conv.strides[1] + shift

                def add(lane: Any) -> Any:
                    c = channel + first + lane
                    value = tirx.BufferLoad(self._x, [place * conv.image[3] + c])
                    weight = (ky * conv.kernel[1] + kx) * conv.image[3] + c
                    return tirx.BufferStore(
                        sums,
                        tirx.BufferLoad(sums, [at(pixel, lane)])
                        + value * tirx.BufferLoad(self._w, [weight]),
                        [at(pixel, lane)],
                    )

                return emit.vector(lanes, add)

            def clear(pixel: int) -> Any:
                return emit.vector(
                    lanes, lambda lane: tirx.BufferStore(sums, emit.zero(), [at(pixel, lane)])
                )

            def store(pixel: int) -> Any:
                return emit.vector(
                    lanes,
                    lambda lane: self._site.store(
                        (image, y, column + emit.number(pixel), channel + first + lane),
                        tirx.BufferLoad(sums, [at(pixel, lane)]),
                    ),
                )

            return [
                take,
                *[clear(pixel) for pixel in range(count)],
                emit.serial(conv.kernel[0], products, "ky"),
                *[store(pixel) for pixel in range(count)],
            ]

        return emit.in_vectors(channels, self._profile.lanes, vector)

    def _is_inside(self, column: Any, pixel: int, kx: int) -> bool:
        if not isinstance(column, int):
            return True
        conv = self._conv
        place = (column + pixel) * conv.strides[1] - conv.padding[1] + kx * conv.dilation[1]
        return 0 <= place < conv.image[2]
