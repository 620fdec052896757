"""Products of two activations, often a batch of them: register tiles over both as they are.

Numbers of the first factor are read one by one, so it may as well be transposed. Of a second
factor that is, the columns of one register tile are copied so that they lie in vectors, unless too
few rows would meet the copy (`row_products.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import te, tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.choice import chosen, written_out
from jointdnn_tvm.passes.kernels.register_tile import Accumulators, Tile, tile_of
from jointdnn_tvm.passes.kernels.row_products import RowProducts, are_few
from jointdnn_tvm.passes.kernels.site import KERNEL, Site
from jointdnn_tvm.targets import TargetProfile

_TASKS_A_CORE = 4
_LONG_ROW = 64  # longer than any vector


@dataclass(frozen=True)
class Factor:
    """Matrices of rows x columns, which lie in memory the other way round if `turned`."""

    shape: tuple[int, ...]
    turned: bool = False

    @property
    def rows(self) -> int:
        """Of each matrix."""
        return self.shape[-1] if self.turned else self.shape[-2]

    @property
    def columns(self) -> int:
        """Of each matrix."""
        return self.shape[-2] if self.turned else self.shape[-1]

    @property
    def batch(self) -> tuple[int, ...]:
        """How many matrices, in all dimensions before theirs."""
        return self.shape[:-2]

    def place(self, batch: Sequence[Any], row: Any, column: Any) -> list[Any]:
        """The indices of a number; one matrix may serve many of the batch."""
        own = batch[len(batch) - len(self.batch) :]
        lead = [
            emit.number(0) if extent == 1 else index
            for index, extent in zip(own, self.batch, strict=True)
        ]
        return [*lead, column, row] if self.turned else [*lead, row, column]

    def flat(self, place: Sequence[Any]) -> Any:
        """Where the indices lead in memory."""
        at = emit.number(0)
        for index, extent in zip(place, self.shape, strict=True):
            at = at * extent + index
        return at


@dataclass(frozen=True)
class Matmul:
    """(..., M, K) times (..., K, N), the dimensions before them broadcast."""

    a: Factor
    b: Factor
    batch: tuple[int, ...]

    name = "matmul"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        return (*self.batch, self.a.rows, self.b.columns)

    @property
    def is_dots(self) -> bool:
        """Whether it is products of a row with rows that lie in memory.

        Those are sums along rows; to copy a factor that is used once would take far longer.
        """
        return self.a.rows == 1 and self.b.turned and self.a.columns >= _LONG_ROW

    def tile(self, profile: TargetProfile) -> Tile:
        """The register tile for a target."""
        return tile_of(chosen(self, profile), self.a.rows, self.b.columns, profile)

    def compute(self, a: te.Tensor, b: te.Tensor) -> te.Tensor:
        """What is meant."""
        k = te.reduce_axis((0, self.a.columns), "k")

        def product(*place: Any) -> Any:
            *batch, i, j = place
            left = a[tuple(self.a.place(batch, i, k))]
            return te.sum(left * b[tuple(self.b.place(batch, k, j))], axis=k)

        attributes = {KERNEL: self.name, "turned": [self.a.turned, self.b.turned]}
        attributes = {} if self.is_dots else attributes
        return te.compute(self.shape, product, "matmul", attrs=attributes)


def emit_matmul(site: Site, profile: TargetProfile) -> list[Any]:
    """Statements for a block that `Matmul.compute` made."""
    buffers = site.operands[0], site.operands[-1]  # once where they are the same
    a, b = (
        Factor(tuple(int(extent) for extent in buffer.shape), bool(turned))
        for buffer, turned in zip(buffers, site.options["turned"], strict=True)
    )
    product = Matmul(a, b, site.shape[:-2])
    if b.turned and not a.turned and are_few(a.rows, a.columns, profile):
        return _by_rows(product, buffers, site, profile)
    return _Writer(product, buffers, site, profile).statements()


def _by_rows(
    product: Matmul, buffers: Sequence[Any], site: Site, profile: TargetProfile
) -> list[Any]:
    (a, see_a), (b, see_b) = (emit.flat(buffer) for buffer in buffers)

    def first(at: Sequence[Any], row: Any, k: Any) -> Any:
        return tirx.BufferLoad(a, [product.a.flat(product.a.place(at, row, k))])

    def second(at: Sequence[Any], column: Any, k: Any) -> Any:
        return tirx.BufferLoad(b, [product.b.flat(product.b.place(at, k, column))])

    writer = RowProducts(site, product.a.columns, first, second)
    return [see_a, see_b, *writer.statements(profile)]


class _Writer:
    """The statements of one product."""

    def __init__(
        self, product: Matmul, buffers: Sequence[Any], site: Site, profile: TargetProfile
    ) -> None:
        self._product = product
        self._site = site
        self._rows, self._columns = product.shape[-2:]
        self._depth = product.a.columns
        self._tile = product.tile(profile)
        self._written_out = written_out(chosen(product, profile))
        self._cores = profile.cores
        (self._a, see_a), (self._b, see_b) = (emit.flat(buffer) for buffer in buffers)
        self._views = [see_a, see_b]

    def statements(self) -> list[Any]:
        """Tasks are some rows of tiles under one panel of columns of the second factor."""
        batch, width = self._product.batch, self._tile.columns
        tiles = -(-self._rows // self._tile.rows)
        panels = -(-self._columns // width)
        tasks = math.prod(batch) * panels
        wanted = -(-_TASKS_A_CORE * self._cores // tasks) if self._cores > 1 else 1
        block = -(-tiles // min(tiles, wanted))
        blocks = -(-tiles // block)

        def task(index: Any) -> list[Any]:
            at = emit.unravel(index // (blocks * panels), batch)
            start = tirx.min(index // blocks % panels * width, emit.number(self._columns - width))
            column, see_column = emit.bind("first_column", start)
            first, see_first = emit.bind("first_tile", index % blocks * block)
            count = block if tiles % block == 0 else tirx.min(block, tiles - first)
            packed, pack = self._packed(at, column)

            def tile(i: Any) -> list[Any]:
                last = emit.number(self._rows - self._tile.rows)
                row, see_row = emit.bind("row", tirx.min((first + i) * self._tile.rows, last))
                return [see_row, *self._sums(at, row, column, packed)]

            return [see_column, see_first, *pack, emit.serial(count, tile, "tile")]

        return [*self._views, emit.parallel(tasks * blocks, task)]

    def _packed(self, at: Sequence[Any], column: Any) -> tuple[Any, list[Any]]:
        """The columns of one tile as rows of vectors, and the statements that make them so."""
        b, width = self._product.b, self._tile.columns
        if not b.turned:
            return None, []
        packed, take = emit.allocate("packed", self._depth * width)

        def row(k: Any) -> list[Any]:
            def copy(i: Any) -> Any:
                value = tirx.BufferLoad(self._b, [b.flat(b.place(at, k, column + i))])
                return tirx.BufferStore(packed, value, [k * width + i])

            return emit.vectors(width, self._tile.lanes, copy)

        return packed, [take, emit.serial(self._depth, row, "k")]

    def _sums(self, at: Sequence[Any], row: Any, column: Any, packed: Any) -> list[Any]:
        """One register tile: its sums, then its results."""
        a, b = self._product.a, self._product.b
        sums = Accumulators(self._tile)

        def vector(k: Any, i: Any) -> Any:
            if packed is not None:
                return tirx.BufferLoad(packed, [k * self._tile.columns + i])
            return tirx.BufferLoad(self._b, [b.flat(b.place(at, k, column + i))])

        def step(k: Any) -> list[Any]:
            return sums.step(
                lambda i: tirx.BufferLoad(self._a, [a.flat(a.place(at, row + i, k))]),
                lambda i: vector(k, i),
            )

        return [
            *sums.clear(),
            emit.unrolled(self._depth, step, "k", written_out=self._written_out),
            *sums.store(
                lambda i, j, value: self._site.store((*at, row + emit.number(i), column + j), value)
            ),
        ]
