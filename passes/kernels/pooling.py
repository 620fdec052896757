"""Pools: the largest number or the mean of each window, a vector of channels at a time.

A tile of neighbouring windows first takes together what lies above each other in each column of
the input, then what lies side by side: each number is used once, however many windows hold it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from tvm import te, tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.choice import chosen
from jointdnn_tvm.passes.kernels.convolution import Convolution, read_convolution
from jointdnn_tvm.passes.kernels.site import KERNEL, Site
from jointdnn_tvm.passes.kernels.windows import WindowTile, in_tiles
from jointdnn_tvm.targets import TargetProfile

_MOST_COLUMNS = 32  # of a window: each has statements of its own
_LOWEST = float(np.finfo(np.float32).min)

Kind = Literal["largest", "mean", "mean with border"]
"""What a pool gives; with the border, its zeros count."""


@dataclass(frozen=True)
class Pooling:
    """The windows, as those of a depthwise convolution, and what is made of each."""

    windows: Convolution
    kind: Kind

    name = "pooling"

    @property
    def is_narrow(self) -> bool:
        """Whether its windows are narrow enough to be written out."""
        return self.windows.kernel[1] <= _MOST_COLUMNS

    def pixels(self, profile: TargetProfile) -> int:
        """Windows of a tile; as many as were chosen, if all their columns have registers."""
        given = min(chosen(self, profile).get("pixels", 0), self.windows.output[2])
        fits = given > 0 and _columns(self.windows, given) < profile.vector_registers
        return given if fits else _pixels(self.windows, profile)

    def compute(self, x: te.Tensor) -> te.Tensor:
        """What is meant."""
        conv = self.windows
        _, h, wd, _ = conv.image
        kh, kw = conv.kernel[:2]
        ky, kx = te.reduce_axis((0, kh), "ky"), te.reduce_axis((0, kw), "kx")
        largest = self.kind == "largest"

        def window(n: Any, y: Any, z: Any, c: Any) -> Any:
            row = y * conv.strides[0] + ky * conv.dilation[0] - conv.padding[0]
            col = z * conv.strides[1] + kx * conv.dilation[1] - conv.padding[1]
            outside = emit.zero(_LOWEST if largest else 0)
            inside = tirx.all(row >= 0, row < h, col >= 0, col < wd)
            value = tirx.if_then_else(inside, x[n, row, col, c], outside)
            if largest:
                return te.max(value, axis=[ky, kx])
            count = self.count(y, 0) * self.count(z, 1)
            return te.sum(value * _inverse(count), axis=[ky, kx])

        attributes = {KERNEL: self.name, "kind": self.kind, "window": [kh, kw], **conv.options}
        return te.compute(conv.output, window, "pooling", attrs=attributes)

    def count(self, place: Any, axis: int) -> Any:
        """How many numbers of a window count along an axis of the image, at least 1."""
        conv = self.windows
        size, extent = conv.kernel[axis], conv.image[1 + axis]
        first = place * conv.strides[axis] - conv.padding[axis]
        if self.kind != "mean":
            return emit.number(size)
        return tirx.max(1, tirx.min(first + size, extent) - tirx.max(first, 0))


def emit_pooling(site: Site, profile: TargetProfile) -> list[Any]:
    """Statements for a block that `Pooling.compute` made."""
    (x,) = site.operands
    kh, kw = (int(extent) for extent in site.options["window"])
    conv = read_convolution(x, (kh, kw, 1, x.shape[3]), site.options)
    pool = Pooling(conv, str(site.options["kind"]))  # type: ignore[arg-type]
    largest = pool.kind == "largest"
    x, see_x = emit.flat(x)

    def join(a: Any, b: Any) -> Any:
        return tirx.max(a, b) if largest else a + b

    def write(tile: WindowTile, channel: Any, lanes: int) -> list[Any]:
        places = {p: [tile.reach(p, kx) for kx in tile.inside(p)] for p in range(tile.count)}
        columns = {right: emit.allocate("column", lanes) for right in _union(places.values())}

        def put(right: int, value: Callable[[Any], Any]) -> Any:
            buffer, _ = columns[right]
            return emit.vector(lanes, lambda lane: tirx.BufferStore(buffer, value(lane), [lane]))

        def column(right: int, lane: Any) -> Any:
            return tirx.BufferLoad(columns[right][0], [lane])

        def row(_ky: Any, at: Callable[[int], Any]) -> list[Any]:
            def more(right: int) -> Any:
                place = at(right) + channel

                def joined(lane: Any) -> Any:
                    return join(column(right, lane), tirx.BufferLoad(x, [place + lane]))

                return put(right, joined)

            return [more(right) for right in columns]

        def result(pixel: int, lane: Any) -> Any:
            if not places[pixel]:
                return start
            values = [column(right, lane) for right in places[pixel]]
            return functools.reduce(join, values)

        def store(pixel: int) -> Any:
            _, y, across = tile.place(pixel)
            scale = emit.zero(1)
            if not largest:
                inner = not isinstance(tile.column, int)
                wide = emit.number(kw) if inner else pool.count(across, 1)
                scale = _inverse(pool.count(y, 0) * wide)
            return emit.vector(
                lanes,
                lambda lane: site.store(
                    (*tile.place(pixel), channel + lane), result(pixel, lane) * scale
                ),
            )

        start = emit.zero(_LOWEST if largest else 0)
        return [
            *[allocation for _, allocation in columns.values()],
            *[put(right, lambda _lane: start) for right in columns],
            tile.rows(row),
            *[store(pixel) for pixel in range(tile.count)],
        ]

    return [see_x, in_tiles(conv, pool.pixels(profile), profile, write)]


def _union(lists: Iterable[Sequence[int]]) -> list[int]:
    return sorted({number for listed in lists for number in listed})


def _pixels(conv: Convolution, profile: TargetProfile) -> int:
    """Of a tile: as many as need three of eight registers for the columns of the input.

    The others are for numbers just read, of which LLVM loads many ahead, and on ARM for comparisons
    with them. Tiles of equal width leave little to be computed twice.
    """
    width, most = conv.output[2], profile.vector_registers * 3 // 8
    fitting = [p for p in range(1, width + 1) if _columns(conv, p) <= most]
    most = max(fitting, default=1)
    return -(-width // -(-width // most))


def _columns(conv: Convolution, pixels: int) -> int:
    """Columns of the input that the windows of a tile have together."""
    (_, across), (_, step) = conv.strides, conv.dilation
    return len({p * across + kx * step for p in range(pixels) for kx in range(conv.kernel[1])})


def _inverse(count: Any) -> Any:
    """1 / count."""
    return emit.zero(1) / tirx.Cast("float32", count)
