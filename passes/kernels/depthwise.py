"""Depthwise convolutions: every channel by itself, a vector of channels at a time.

Each input vector that a tile of windows loads serves all of its pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import te, tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.choice import chosen
from jointdnn_tvm.passes.kernels.convolution import Convolution, read_convolution
from jointdnn_tvm.passes.kernels.site import KERNEL, Site
from jointdnn_tvm.passes.kernels.windows import WindowTile, in_tiles
from jointdnn_tvm.targets import TargetProfile

_MOST_PIXELS = 8
_MOST_COLUMNS = 16


@dataclass(frozen=True)
class Depthwise:
    """A convolution with as many groups as channels in and out."""

    convolution: Convolution

    name = "depthwise"

    @property
    def is_narrow(self) -> bool:
        """Whether its windows are narrow enough to be written out."""
        return self.convolution.kernel[1] <= _MOST_COLUMNS

    def pixels(self, profile: TargetProfile) -> int:
        """Of a tile: as many as leave registers for the weights of a row and one input."""
        spare = profile.vector_registers - self.convolution.kernel[1] - 2
        given = chosen(self, profile).get("pixels", 0)
        return max(1, min(spare, given if given > 0 else _MOST_PIXELS))

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
    conv = read_convolution(x, w.shape, site.options)
    (x, see_x), (w, see_w) = emit.flat(x), emit.flat(w)
    pixels = Depthwise(conv).pixels(profile)

    def write(tile: WindowTile, channel: Any, lanes: int) -> list[Any]:
        sums, take = emit.allocate("sums", tile.count * lanes)

        def put(pixel: int, value: Callable[[Any], Any]) -> Any:
            return emit.vector(
                lanes,
                lambda lane: tirx.BufferStore(sums, value(lane), [lane + pixel * lanes]),
            )

        def total(pixel: int, lane: Any) -> Any:
            return tirx.BufferLoad(sums, [lane + pixel * lanes])

        def product(pixel: int, ky: Any, kx: int, place: Any) -> Any:
            weight = (ky * conv.kernel[1] + kx) * conv.image[3] + channel

            def add(lane: Any) -> Any:
                value = tirx.BufferLoad(x, [place + channel + lane])
                return total(pixel, lane) + value * tirx.BufferLoad(w, [weight + lane])

            return put(pixel, add)

        def products(ky: Any, at: Callable[[int], Any]) -> list[Any]:
            return [
                product(pixel, ky, kx, at(tile.reach(pixel, kx)))
                for kx in range(conv.kernel[1])
                for pixel in range(tile.count)
                if tile.is_inside(pixel, kx)
            ]

        def store(pixel: int) -> Any:
            return emit.vector(
                lanes,
                lambda lane: site.store((*tile.place(pixel), channel + lane), total(pixel, lane)),
            )

        pixels = range(tile.count)
        clear = [put(pixel, lambda _lane: emit.zero()) for pixel in pixels]
        return [take, *clear, tile.rows(products), *[store(pixel) for pixel in pixels]]

    return [see_x, see_w, in_tiles(conv, pixels, profile, write)]
