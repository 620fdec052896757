"""3x3 convolutions in fewer multiplications: Winograd's F(m x m, 3 x 3).

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308). An image is
cut into tiles of m x m outputs, each made from e x e inputs (e = m + 2). Inputs and weights are
transformed into e * e planes; in each plane the convolution is one matrix product over channels;
the transform back gives the outputs. Tiles are taken in chunks whose planes stay in a near cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import te, tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.convolution import Convolution, unravel
from jointdnn_tvm.passes.kernels.packing import Array, Panels
from jointdnn_tvm.passes.kernels.register_tile import Accumulators, Tile, best_tile
from jointdnn_tvm.passes.kernels.site import KERNEL, Site
from jointdnn_tvm.targets import TargetProfile

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Transforms:
    """The matrices of F(m, 3): of inputs (e x e), weights (e x 3) and outputs (m x e)."""

    inputs: Matrix
    weights: Matrix
    outputs: Matrix


def toom_cook(points: Sequence[float]) -> Transforms:
    """Evaluation at the points and infinity, and interpolation; exact for dyadic points.

    Points but the first come in pairs, p and -p, which the transforms make use of.
    """
    edge, m = len(points) + 1, len(points) - 1
    others = [[q for q in points if q != p] for p in points]
    inputs = [[*_from_roots(roots), 0.0] for roots in others] + [_from_roots(points)]
    scales = [math.prod(p - q for q in roots) for p, roots in zip(points, others, strict=True)]
    weights = [[p**k / scale for k in range(3)] for p, scale in zip(points, scales, strict=True)]
    outputs = [[*(p**k for p in points), float(k == m - 1)] for k in range(m)]
    assert len(inputs) == edge
    return Transforms(_matrix(inputs), _matrix([*weights, [0.0, 0.0, 1.0]]), _matrix(outputs))


def _from_roots(roots: Sequence[float]) -> list[float]:
    """Coefficients of the polynomial with these roots, constant first."""
    coefficients = [1.0]
    for root in roots:
        shifted = [0.0, *coefficients]
        coefficients = [s - root * c for s, c in zip(shifted, [*coefficients, 0.0], strict=True)]
    return coefficients


def _matrix(rows: Sequence[Sequence[float]]) -> Matrix:
    return tuple(tuple(row) for row in rows)


# Of points that floats hold exactly, these gave the smallest error of those tried: half that of
# the usual 0, 1, -1, 2, -2 for m = 4, and twice that of a plain sum over 256 channels.
TRANSFORMS = {m: toom_cook(p) for m, p in {2: (0, 1, -1), 4: (0, 0.75, -0.75, 1.5, -1.5)}.items()}
"""By m."""


@dataclass(frozen=True)
class WinogradPanels:
    """(3, 3, C, O) as transformed panels: [e * e, panels, C, width]."""

    outputs: int
    width: int

    @property
    def tag(self) -> str:
        """Short name, part of the packed weight's."""
        return f"winograd{self.outputs}panels{self.width}"

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the packed weight."""
        _, _, depth, columns = shape
        panels, _, width = Panels(self.width).shape((depth, columns))
        return ((self.outputs + 2) ** 2, panels, depth, width)

    def apply(self, weight: Array) -> Array:
        """The packed weight; transformed in float64."""
        matrix = np.array(TRANSFORMS[self.outputs].weights)
        packed = np.empty(self.shape(weight.shape), weight.dtype)
        for index, plane in enumerate(packed):
            row, column = divmod(index, len(matrix))
            factors = np.outer(matrix[row], matrix[column])
            transformed = np.tensordot(factors, weight.astype(np.float64), axes=2)
            plane[...] = Panels(self.width).apply(transformed)
        return packed


@dataclass(frozen=True)
class Winograd:
    """A 3x3 convolution without strides, dilation or groups, by F(m x m, 3 x 3)."""

    convolution: Convolution
    outputs: int

    name = "winograd"

    @property
    def edge(self) -> int:
        """Inputs of a tile along one axis."""
        return self.outputs + 2

    @property
    def grid(self) -> tuple[int, int, int]:
        """Images, and tiles down and across each."""
        n, h, w, _ = self.convolution.output
        return n, -(-h // self.outputs), -(-w // self.outputs)

    @property
    def tiles(self) -> int:
        """Tiles of all images."""
        return math.prod(self.grid)

    def chunk(self, profile: TargetProfile) -> int:
        """Tiles that are transformed, multiplied and transformed back together."""
        _, _, depth, columns = self.convolution.kernel
        bytes_a_tile = 4 * self.edge**2 * (depth + columns)
        rows = best_tile(self.tiles, columns, profile).rows
        near = max((profile.l2_bytes or _UNKNOWN_CACHE_BYTES) * 3 // 4, 1)
        chunk = max(near // bytes_a_tile // rows, _ROWS_A_CHUNK) * rows
        chunks = -(-self.tiles // chunk)
        if profile.cores > 1 and chunks < 2 * profile.cores:
            chunks = 1 if chunks == 1 else 2 * profile.cores
        even = -(-self.tiles // chunks)
        return min(self.tiles, -(-even // rows) * rows)

    def tile(self, profile: TargetProfile) -> Tile:
        """The register tile of the products."""
        return best_tile(self.chunk(profile), self.convolution.kernel[3], profile)

    def seconds(self, profile: TargetProfile) -> float:
        """Modelled time on one core: the products, the transforms, and fetching the weights."""
        _, _, depth, columns = self.convolution.kernel
        tile, chunk, planes = self.tile(profile), self.chunk(profile), self.edge**2
        chunks = -(-self.tiles // chunk)
        panels = -(-columns // tile.columns)
        steps = chunks * -(-chunk // tile.rows) * panels * planes * depth
        transforms = _INTO_CYCLES * depth + _BACK_CYCLES * columns
        cycles = steps * tile.cycles(profile)
        cycles += self.tiles * planes * transforms / profile.lanes
        weight_bytes = 4 * planes * panels * depth * tile.columns
        return cycles / profile.clock_hz + weight_bytes / profile.bandwidth_bytes_per_s

    def packing(self, profile: TargetProfile) -> WinogradPanels:
        """How the weights are packed for a target."""
        return WinogradPanels(self.outputs, self.tile(profile).columns)

    def compute(self, x: te.Tensor, w: te.Tensor) -> te.Tensor:
        """What is meant, over packed weights: all sums in one."""
        _, height, width_, depth = self.convolution.image
        top, left, _, _ = self.convolution.padding
        columns, width, m = self.convolution.kernel[3], int(w.shape[-1]), self.outputs
        matrices = TRANSFORMS[m]
        axes = [te.reduce_axis((0, self.edge), name) for name in ("ey", "ex", "ky", "kx")]
        ey, ex, ky, kx = axes
        kc = te.reduce_axis((0, depth), "kc")

        def product(n: Any, y: Any, z: Any, c: Any) -> Any:
            row, col = y // m * m + ky - top, z // m * m + kx - left
            inside = tirx.all(row >= 0, row < height, col >= 0, col < width_)
            value = tirx.if_then_else(inside, x[n, row, col, kc], emit.zero())
            first = tirx.min(c // width * width, columns - width)
            weight = w[ey * self.edge + ex, c // width, kc, c - first]
            factor = _entry(matrices.inputs, ey, ky) * _entry(matrices.inputs, ex, kx)
            back = _entry(matrices.outputs, y % m, ey) * _entry(matrices.outputs, z % m, ex)
            return te.sum(value * factor * weight * back, axis=[*axes, kc])

        attributes = {
            KERNEL: self.name,
            "outputs": m,
            "padding": list(self.convolution.padding),
            "columns": columns,
        }
        return te.compute(self.convolution.output, product, "winograd", attrs=attributes)


_UNKNOWN_CACHE_BYTES = 256 << 10
_INTO_CYCLES, _BACK_CYCLES = 10, 6  # for each vector of a plane, measured with AVX2 on a Zen 3
_ROWS_A_CHUNK = 4  # register tiles, so that panels are not fetched anew for little work


def _entry(matrix: Matrix, row: Any, column: Any) -> Any:
    """An entry chosen at run time."""
    value = emit.zero()
    for r, entries in enumerate(matrix):
        for c, entry in enumerate(entries):
            if entry:
                here = tirx.all(tirx.EQ(row, r), tirx.EQ(column, c))
                value = tirx.Select(here, emit.zero(entry), value)
    return value


def fast_algorithms(convolution: Convolution) -> list[Winograd]:
    """The Winograd forms that a convolution has."""
    plain = convolution.kernel[:2] == (3, 3) and convolution.groups == 1
    if not plain or (convolution.strides, convolution.dilation) != ((1, 1), (1, 1)):
        return []
    return [Winograd(convolution, m) for m in TRANSFORMS]


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
        n, y, x = unravel(tile, self._winograd.grid)
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

                return _both_ways(TRANSFORMS[m].inputs, edge, lanes, read, write, _rows_paired)

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
        n, y, x = unravel(tile, self._winograd.grid)
        (row, see_row), (col, see_col) = emit.bind("row", y * m), emit.bind("col", x * m)

        def some(first: Any, lanes: int) -> list[Any]:
            outputs, take = emit.allocate("outputs", m * m * lanes, "local")

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
            transform = _both_ways(TRANSFORMS[m].outputs, edge, lanes, read, keep, _columns_paired)
            return [take, *transform, emit.serial(m * m, hand_out)]

        return [see_row, see_col, *emit.in_vectors(columns, self._profile.lanes, some)]


def _both_ways(
    matrix: Matrix,
    edge: int,
    lanes: int,
    read: Callable[[int, int, Any], Any],
    write: Callable[[int, int, Any, Any], Any],
    combine: Callable[[Matrix, Sequence[Any]], list[Any]],
) -> list[Any]:
    """matrix @ values @ matrix.T for a vector of channels; values are edge x edge."""
    size = len(matrix)
    between, take = emit.allocate("between", size * edge * lanes, "local")

    def down(row: int, column: int) -> Any:
        return emit.vector(
            lanes,
            lambda lane: tirx.BufferStore(
                between,
                combine(matrix, [read(r, column, lane) for r in range(edge)])[row],
                [lane + (row * edge + column) * lanes],
            ),
        )

    def across(row: int, column: int) -> Any:
        def value(lane: Any) -> Any:
            at = [lane + (row * edge + c) * lanes for c in range(edge)]
            return combine(matrix, [tirx.BufferLoad(between, [a]) for a in at])[column]

        return emit.vector(lanes, lambda lane: write(row, column, lane, value(lane)))

    return [
        take,
        *[down(row, column) for column in range(edge) for row in range(size)],
        *[across(row, column) for row in range(size) for column in range(size)],
    ]


_PLANE_GAP = 16  # numbers: one cache line


def _rows_paired(matrix: Matrix, values: Sequence[Any]) -> list[Any]:
    """matrix @ values, where rows differ in the sign of their odd part only: parts are shared."""
    results = []
    for entries in matrix:
        even = _sum([(f if i % 2 == 0 else 0, v) for i, (f, v) in _pairs(entries, values)])
        odd_entries = [f if i % 2 else 0 for i, f in enumerate(entries)]
        sign = next((math.copysign(1, f) for f in odd_entries if f), 1.0)
        odd = _sum([(f * sign, v) for f, v in zip(odd_entries, values, strict=True)])
        if even is None or odd is None:
            results.append(even if odd is None else odd if sign > 0 else -odd)
        else:
            results.append(even + odd if sign > 0 else even - odd)
    return results


def _columns_paired(matrix: Matrix, values: Sequence[Any]) -> list[Any]:
    """matrix @ values, where columns 1 and 2, 3 and 4, … differ in sign only: sums are shared."""
    results = []
    for entries in matrix:
        terms = [(entries[0], values[0])]
        for i in range(1, len(values) - 1, 2):
            a, b = entries[i], entries[i + 1]
            both = values[i] + values[i + 1] if a == b else values[i] - values[i + 1]
            terms.append((a, both))
        terms.append((entries[-1], values[-1]))
        results.append(_sum(terms))
    return results


def _pairs(entries: Sequence[float], values: Sequence[Any]) -> list[tuple[int, tuple[float, Any]]]:
    return list(enumerate(zip(entries, values, strict=True)))


def _sum(terms: Sequence[tuple[float, Any]]) -> Any:
    """The sum of factor * value, None when there is none."""
    total = None
    for factor, value in terms:
        if not factor:
            continue
        size = value if abs(factor) == 1 else value * emit.zero(abs(factor))
        if total is None:
            total = size if factor > 0 else -size
        else:
            total = total + size if factor > 0 else total - size
    return total
