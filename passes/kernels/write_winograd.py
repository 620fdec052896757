"""The statements of a Winograd convolution: transform inputs, multiply planes, transform back."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.choice import chosen, written_out
from jointdnn_tvm.passes.kernels.convolution import Convolution
from jointdnn_tvm.passes.kernels.register_tile import Accumulators
from jointdnn_tvm.passes.kernels.site import Site
from jointdnn_tvm.passes.kernels.winograd import Winograd
from jointdnn_tvm.passes.kernels.winograd_transforms import (
    TRANSFORMS,
    both_ways,
    columns_paired,
    rows_paired,
)
from jointdnn_tvm.targets import TargetProfile

_PLANE_GAP = 16  # numbers: one cache line


def emit_winograd(site: Site, profile: TargetProfile) -> list[Any]:
    """Statements for a block that `Winograd.compute` made."""
    x, _ = site.operands
    n, height, width, depth = (int(extent) for extent in x.shape)
    top, left, bottom, right = (int(pad) for pad in site.options["padding"])
    convolution = Convolution(
        (n, height, width, depth),
        (3, 3, depth, int(site.options["columns"])),
        padding=(top, left, bottom, right),
    )
    winograd = Winograd(convolution, int(site.options["outputs"]))
    return _Writer(winograd, site, profile).statements()


class _Writer:
    """The statements of one convolution."""

    def __init__(self, winograd: Winograd, site: Site, profile: TargetProfile) -> None:
        self._winograd = winograd
        self._site = site
        self._profile = profile
        self._tile = winograd.tile(profile)
        self._chunk = winograd.chunk(profile)
        self._written_out = written_out(chosen(winograd.convolution, profile))
        self._depth, self._columns = winograd.convolution.kernel[2:]
        self._panels = -(-self._columns // self._tile.columns)
        x, w = site.operands
        (self._x, see_x), (self._w, see_w) = emit.flat(x), emit.flat(w)
        self._views = [see_x, see_w]
        # Planes are kept from lying a multiple of a page apart, where caches have few places.
        self._in_plane = self._chunk * self._depth + _PLANE_GAP
        self._out_plane = self._chunk * self._columns + _PLANE_GAP

    def statements(self) -> list[Any]:
        """Threads share out the chunks, or where these are few the parts of each step."""
        chunks = -(-self._winograd.tiles // self._chunk)
        outer = chunks >= 2 * self._profile.cores
        inner_loop = emit.serial if outer else emit.parallel
        planes = self._winograd.edge**2
        self._inputs, take_inputs = emit.allocate("inputs", planes * self._in_plane)
        self._results, take_results = emit.allocate("results", planes * self._out_plane)
        buffers = [take_inputs, take_results]

        def chunk(index: Any) -> list[Any]:
            start = index * self._chunk
            if self._winograd.tiles % self._chunk:
                start = tirx.min(start, self._winograd.tiles - self._chunk)
            first, see_first = emit.bind("first", start)
            return [
                see_first,
                inner_loop(self._chunk, lambda i: self._transform(first + i, i), "into"),
                inner_loop(planes * self._panels, self._multiply, "product"),
                inner_loop(self._chunk, lambda i: self._transform_back(first + i, i), "back"),
            ]

        if outer:
            body = emit.parallel(chunks, lambda i: [*buffers, *chunk(i)], "chunk")
            return [*self._views, body]
        return [*self._views, *buffers, emit.serial(chunks, chunk, "chunk")]

    def _transform(self, tile: Any, place: Any) -> list[Any]:
        """One tile of inputs, of all channels, into the planes."""
        edge, m = self._winograd.edge, self._winograd.outputs
        _, height, width, depth = self._winograd.convolution.image
        top, left = self._winograd.convolution.padding[:2]
        n, y, x = emit.unravel(tile, self._winograd.grid)
        (row, see_row), (col, see_col) = (
            emit.bind("row", y * m - top),
            emit.bind("col", x * m - left),
        )
        base, see_base = emit.bind("base", ((n * height + row) * width + col) * depth)

        def inside(r: int, c: int) -> Any:
            return tirx.all(row + r >= 0, row + r < height, col + c >= 0, col + c < width)

        def channels(checked: bool) -> list[Any]:
            def some(first: Any, lanes: int) -> list[Any]:
                def read(r: int, c: int, lane: Any) -> Any:
                    at = base + (r * width + c) * depth + first + lane
                    value = tirx.BufferLoad(self._x, [at])
                    return tirx.if_then_else(inside(r, c), value, emit.zero()) if checked else value

                def write(r: int, c: int, lane: Any, value: Any) -> Any:
                    at = (r * edge + c) * self._in_plane + place * depth + first + lane
                    return tirx.BufferStore(self._inputs, value, [at])

                return both_ways(TRANSFORMS[m].inputs, edge, lanes, read, write, rows_paired)

            return emit.in_vectors(depth, self._profile.lanes, some)

        everything = tirx.all(inside(0, 0), inside(edge - 1, edge - 1))
        down, across = self._winograd.grid[1:]
        if not (top or left) and down * m + 2 <= height and across * m + 2 <= width:
            return [see_row, see_col, see_base, *channels(False)]
        choice = tirx.IfThenElse(
            everything, emit.sequence(channels(False)), emit.sequence(channels(True))
        )
        return [see_row, see_col, see_base, choice]

    def _multiply(self, index: Any) -> list[Any]:
        """One plane of a chunk times one panel of weights."""
        tile, depth = self._tile, self._depth
        plane, see_plane = emit.bind("plane", index // self._panels)
        panel, see_panel = emit.bind("panel", index % self._panels)
        column = panel * tile.columns
        if self._columns % tile.columns:
            column = tirx.min(column, self._columns - tile.columns)
        start, see_start = emit.bind("column", column)

        def rows(at: Any) -> list[Any]:
            start_row = at * tile.rows
            if self._chunk % tile.rows:
                start_row = tirx.min(start_row, self._chunk - tile.rows)
            row, see_row = emit.bind("row", start_row)
            sums = Accumulators(tile)
            read, write = plane * self._in_plane, plane * self._out_plane
            weights = (plane * self._panels + panel) * depth
            return [
                see_row,
                *sums.clear(),
                emit.unrolled(
                    depth,
                    lambda k: sums.step(
                        lambda i: tirx.BufferLoad(self._inputs, [read + (row + i) * depth + k]),
                        lambda c: tirx.BufferLoad(self._w, [(weights + k) * tile.columns + c]),
                    ),
                    "k",
                    written_out=self._written_out,
                ),
                *sums.store(
                    lambda i, c, value: tirx.BufferStore(
                        self._results, value, [write + (row + i) * self._columns + start + c]
                    )
                ),
            ]

        return [see_plane, see_panel, see_start, emit.serial(-(-self._chunk // tile.rows), rows)]

    def _transform_back(self, tile: Any, place: Any) -> list[Any]:
        """One tile of outputs, of all channels, from the planes to memory."""
        edge, m = self._winograd.edge, self._winograd.outputs
        _, height, width, columns = self._winograd.convolution.output
        n, y, x = emit.unravel(tile, self._winograd.grid)
        (row, see_row), (col, see_col) = emit.bind("row", y * m), emit.bind("col", x * m)

        def some(first: Any, lanes: int) -> list[Any]:
            outputs, take = emit.allocate("outputs", m * m * lanes)

            def read(r: int, c: int, lane: Any) -> Any:
                at = (r * edge + c) * self._out_plane + place * columns + first + lane
                return tirx.BufferLoad(self._results, [at])

            def keep(r: int, c: int, lane: Any, value: Any) -> Any:
                return tirx.BufferStore(outputs, value, [lane + (r * m + c) * lanes])

            def hand_out(index: Any) -> list[Any]:
                down, across = row + index // m, col + index % m
                store = emit.vector(
                    lanes,
                    lambda lane: self._site.store(
                        (n, down, across, first + lane),
                        tirx.BufferLoad(outputs, [index * lanes + lane]),
                    ),
                )
                if height % m == 0 and width % m == 0:
                    return [store]
                return [emit.when(tirx.all(down < height, across < width), store)]

            # A loop, not m * m copies: the epilogue may be long.
            transform = both_ways(TRANSFORMS[m].outputs, edge, lanes, read, keep, columns_paired)
            return [take, *transform, emit.serial(m * m, hand_out)]

        return [see_row, see_col, *emit.in_vectors(columns, self._profile.lanes, some)]
