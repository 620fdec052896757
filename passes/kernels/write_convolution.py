"""The statements of convolutions and dense layers: register tiles times packed panels of weights.

All output pixels of all images form the rows of one matrix. A row's numbers are read where they
are; only a padded input is copied first, into a buffer with its border. Tasks, for the threads,
are blocks of rows whose input stays in the second cache, each with one panel of weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tvm import tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.choice import written_out
from jointdnn_tvm.passes.kernels.convolution import Convolution, Dense, read_convolution
from jointdnn_tvm.passes.kernels.register_tile import Accumulators, Tile
from jointdnn_tvm.passes.kernels.site import Site
from jointdnn_tvm.targets import TargetProfile

_UNKNOWN_CACHE_BYTES = 256 << 10
_OVERLAP = 1.05  # of the work, at most, for tiles that keep to one row of pixels
_TASKS_A_CORE = 4  # so that threads finish together
_LINE_BYTES = 64
_WORTH = 0.4  # of the time of multiplying; on a Zen 3, 0.3 made it slower and 0.5 faster

Ahead = Callable[[Any, int], list[Any]]
"""What comes before some steps of a product: the first, and how many."""


def emit_dense(site: Site, profile: TargetProfile) -> list[Any]:
    """Statements for a block that `Dense.compute` made."""
    x, w = site.operands
    dense = Dense(
        tuple(int(extent) for extent in x.shape),
        (int(w.shape[1]), int(site.options["columns"])),
    )
    return _Writer(dense.convolution, site, profile).statements()


def emit_convolution(site: Site, profile: TargetProfile) -> list[Any]:
    """Statements for a block that `Convolution.compute` made."""
    x, w = site.operands
    _, kh, kw, depth, _ = (int(extent) for extent in w.shape)
    convolution = read_convolution(x, (kh, kw, depth, int(site.options["columns"])), site.options)
    return _Writer(convolution, site, profile).statements()


@dataclass(frozen=True)
class Blocks:
    """How a convolution's register tiles are shared out.

    `in_rows`: no tile reaches over the end of a row of pixels, so that it needs one address, not
    one for each of its pixels. A task is a `block` of tiles under one panel of weights.
    """

    tile: Tile
    in_rows: bool
    tiles: int
    block: int


def share_out(conv: Convolution, profile: TargetProfile) -> Blocks:
    """The blocks for a target; by a choice as far as it leaves every thread work."""
    choice, tile, width = conv.choice(profile), conv.tile(profile), conv.output[2]
    tiles_a_row = -(-width // tile.rows)
    short = tiles_a_row * tile.rows <= _OVERLAP * width
    in_rows = tile.rows <= width and bool(choice.get("in_rows", short))
    tiles = conv.rows // width * tiles_a_row if in_rows else -(-conv.rows // tile.rows)
    tasks = conv.groups * -(-conv.columns // tile.columns)
    wanted = -(-_TASKS_A_CORE * profile.cores // tasks) if profile.cores > 1 else 1
    given = choice.get("block", 0)
    block = given if given > 0 else _cached_tiles(conv, tile, profile)
    return Blocks(tile, in_rows, tiles, max(1, min(block, tiles, tiles // wanted)))


def _cached_tiles(conv: Convolution, tile: Tile, profile: TargetProfile) -> int:
    """So many tiles that their input takes half of the second cache."""
    new = min(conv.strides[0], conv.kernel[0]) * min(conv.strides[1], conv.kernel[1])
    bytes_a_tile = tile.rows * 4 * conv.image[3] * new
    return (profile.l2_bytes or _UNKNOWN_CACHE_BYTES) // 2 // bytes_a_tile


class _Writer:
    """The statements of one convolution."""

    def __init__(self, convolution: Convolution, site: Site, profile: TargetProfile) -> None:
        self._conv = convolution
        self._site = site
        self._blocks = share_out(convolution, profile)
        self._tile, self._tiles = self._blocks.tile, self._blocks.tiles
        self._panels = -(-convolution.columns // self._tile.columns)
        self._choice = convolution.choice(profile)
        self._profile = profile
        x, w = site.operands
        (self._x, see_x), (self._w, see_w) = emit.flat(x), emit.flat(w)
        self._views = [see_x, see_w]
        self._stored = convolution.image

    def statements(self) -> list[Any]:
        """Everything, from the padded copy to the last store."""
        block = self._blocks.block
        blocks = -(-self._tiles // block)
        panels = self._conv.groups * self._panels
        padded = self._pad() if any(self._conv.padding) else []

        def task(index: Any) -> list[Any]:
            first, see_first = emit.bind("first_tile", index // panels * block)
            panel, see_panel = emit.bind("panel", index % panels)
            count = block if self._tiles % block == 0 else tirx.min(block, self._tiles - first)
            ahead = self._fetch_ahead(panel, block)
            tiles = emit.serial(count, lambda i: self._product(first + i, panel, ahead(i)), "tile")
            return [see_first, see_panel, tiles]

        return [*self._views, *padded, emit.parallel(blocks * panels, task)]

    def _fetch_ahead(self, panel: Any, tiles: int) -> Callable[[Any], Ahead]:
        """What each of a task's tiles does to have the next panel at hand.

        Weights that no cache holds then come from memory while tiles multiply, in place of before.
        Worth it where a panel is used once, by a few tiles, and two fit the second cache.
        """
        conv, tile, profile = self._conv, self._tile, self._profile
        steps = conv.kernel[0] * conv.kernel[1] * conv.kernel[2]
        panel_bytes = 4 * steps * tile.columns
        cache = profile.l2_bytes or _UNKNOWN_CACHE_BYTES
        fetching_s = panel_bytes / profile.bandwidth_bytes_per_s
        multiplying_s = tiles * steps * tile.cycles(profile) / profile.clock_hz
        fits = 2 * panel_bytes <= cache < self._panels * panel_bytes
        pays = fits and fetching_s >= _WORTH * multiplying_s
        if tiles == 1 or tiles < self._tiles or not self._choice.get("fetch_ahead", pays):
            return lambda _tile: lambda _first, _count: []
        start = (panel + 1) * (steps * tile.columns)

        def lines(tile_index: Any, first: Any, count: int) -> list[Any]:
            place = start + (tile_index * steps + first) * tile.columns // tiles
            wanted = -(-4 * count * tile.columns // (_LINE_BYTES * tiles))
            step = _LINE_BYTES // 4
            return [emit.prefetch(self._w, place + i * step) for i in range(wanted)]

        return partial(partial, lines)

    def _pad(self) -> list[Any]:
        """Copies the input into a buffer with a border of zeros."""
        n, h, w, c = self._conv.image
        top, left, bottom, right = self._conv.padding
        height, width = h + top + bottom, w + left + right
        source = self._x
        buffer, allocation = emit.allocate("padded", n * height * width * c)

        def row(index: Any) -> list[Any]:
            image, y = index // height, index % height - top
            start = index * (width * c)

            def clear(first: int, count: int) -> list[Any]:
                return emit.vectors(
                    count,
                    self._profile.lanes,
                    lambda i: tirx.BufferStore(buffer, emit.zero(), [start + first + i]),
                )

            read = (image * h + y) * (w * c)
            copy = emit.vectors(
                w * c,
                self._profile.lanes,
                lambda i: tirx.BufferStore(
                    buffer, tirx.BufferLoad(source, [read + i]), [start + left * c + i]
                ),
            )
            inner = [*clear(0, left * c), *copy, *clear((left + w) * c, right * c)]
            if not (top or bottom):
                return inner
            return [
                tirx.IfThenElse(
                    tirx.all(y >= 0, y < h),
                    emit.sequence(inner),
                    emit.sequence(clear(0, width * c)),
                )
            ]

        self._x, self._stored = buffer, (n, height, width, c)
        return [allocation, emit.parallel(n * height, row, "row")]

    def _product(self, tile_index: Any, panel: Any, ahead: Ahead) -> list[Any]:
        """One register tile: its sums, then its results."""
        conv, tile = self._conv, self._tile
        kh, kw, depth, _ = conv.kernel
        _, _, width, channels = self._stored
        first, see_first = emit.bind("first", self._first_row(tile_index))
        group = panel // self._panels if conv.groups > 1 else emit.number(0)
        see_bases, bases = self._windows(first, group * depth)
        sums = Accumulators(tile)
        # Without dilation and groups a row of the window is one run of numbers.
        merged = conv.groups == 1 and conv.dilation[1] == 1 and channels == depth
        steps, run = (1, kw * depth) if merged else (kw, depth)

        def inner(ky: Any, kx: Any, k: Any) -> list[Any]:
            shift = (ky * conv.dilation[0] * width + kx * conv.dilation[1]) * channels + k
            weight = (((panel * kh + ky) * steps + kx) * run + k) * tile.columns
            return sums.step(
                lambda i: tirx.BufferLoad(self._x, [bases[i] + shift]),
                lambda column: tirx.BufferLoad(self._w, [weight + column]),
            )

        def run_along(ky: Any, kx: Any) -> list[Any]:
            def before(first: Any, count: int) -> list[Any]:
                return ahead((ky * steps + kx) * run + first, count)

            steps_out = written_out(self._choice)
            return [emit.unrolled(run, lambda k: inner(ky, kx, k), "k", before, steps_out)]

        reduction = emit.serial(
            kh,
            lambda ky: [emit.serial(steps, lambda kx: run_along(ky, kx), "kx")],
            "ky",
        )
        return [
            see_first,
            *see_bases,
            *sums.clear(),
            reduction,
            *sums.store(
                lambda i, column, value: self._site.store(
                    self._place(first + i, panel, group, column), value
                )
            ),
        ]

    def _first_row(self, tile_index: Any) -> Any:
        """The first output pixel of a tile; the last tiles begin early enough to be whole."""
        rows, width = self._tile.rows, self._conv.output[2]
        if not self._blocks.in_rows:
            start = tile_index * rows
            return tirx.min(start, self._conv.rows - rows) if self._conv.rows % rows else start
        tiles = -(-width // rows)
        start = tile_index % tiles * rows
        start = tirx.min(start, width - rows) if width % rows else start
        return tile_index // tiles * width + start

    def _windows(self, first: Any, channel: Any) -> tuple[list[Any], list[Any]]:
        """Where the windows of a tile's rows begin in the stored input."""
        _, height, width, channels = self._stored
        rows, (down, across) = range(self._tile.rows), self._conv.strides
        if (down, across) == (1, 1) and self._conv.output[1:3] == (height, width):
            start, see = emit.bind("window", first * channels + channel)
            return [see], [start + row * channels for row in rows]

        def window(row: Any) -> tuple[Any, Any]:
            n, y, x = emit.unravel(row, self._conv.output[:3])
            place = (n * height + y * down) * width + x * across
            return emit.bind("window", place * channels + channel)

        if self._blocks.in_rows:
            start, see = window(first)
            return [see], [start + row * (across * channels) for row in rows]
        starts, sees = zip(*(window(first + row) for row in rows), strict=True)
        return list(sees), list(starts)

    def _place(self, row: Any, panel: Any, group: Any, column: Any) -> tuple[Any, ...]:
        columns, width = self._conv.columns, self._tile.columns
        within = panel - group * self._panels if self._conv.groups > 1 else panel
        first = within * width
        if columns % width:
            first = tirx.min(first, columns - width)
        return (*emit.unravel(row, self._site.shape[:-1]), group * columns + first + column)
