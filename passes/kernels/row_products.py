"""Products of a few rows with rows, both read as they lie in memory.

What a matrix product is whose second factor is transposed. To copy that factor into vectors of
columns pays when many rows meet the copy. Here instead each sum of a tile is a vector, whose lanes
are added up in the end.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.site import Site
from jointdnn_tvm.targets import TargetProfile

_LOADS_A_CYCLE = 2


@dataclass(frozen=True)
class RowTile:
    """Sums of `rows` rows of the first factor with `columns` rows of the second."""

    rows: int
    columns: int

    def cycles(self, profile: TargetProfile) -> float:
        """Of a vector of each."""
        sums, loads = self.rows * self.columns, self.rows + self.columns
        return max(sums / profile.fma_ports, loads / _LOADS_A_CYCLE, profile.fma_latency)


def best_row_tile(rows: int, columns: int, profile: TargetProfile) -> RowTile:
    """The tile with which a product of this size takes the fewest cycles, in registers."""
    fitting = [
        RowTile(height, width)
        for height in range(1, rows + 1)
        for width in range(1, columns + 1)
        if height * width + min(height, width) + 1 <= profile.vector_registers
    ]
    return min(
        fitting,
        key=lambda tile: (
            math.ceil(rows / tile.rows) * math.ceil(columns / tile.columns) * tile.cycles(profile)
        ),
    )


def are_few(rows: int, depth: int, profile: TargetProfile) -> bool:
    """Whether copies of rows so long would cost more than adding up lanes does.

    A number is copied in a cycle, as a lane is added; and the first factor, read for each tile,
    has to stay in the second cache.
    """
    return profile.lanes * rows <= depth and 8 * rows * depth <= profile.l2_bytes


@dataclass(frozen=True)
class RowProducts:
    """The statements of one product, of matrices in flat buffers."""

    site: Site
    depth: int
    first: Callable[[Sequence[Any], Any, Any], Any]
    """The number of a batch's first factor in a row, so far along it."""
    second: Callable[[Sequence[Any], Any, Any], Any]
    """The same of its second factor, as it lies in memory."""

    def statements(self, profile: TargetProfile) -> list[Any]:
        """Tasks are all rows of the first factor with a few of the second."""
        *batch, rows, columns = self.site.shape
        tile = best_row_tile(rows, columns, profile)
        panels = math.ceil(columns / tile.columns)

        def task(index: Any) -> list[Any]:
            at = emit.unravel(index // panels, batch)
            start = tirx.min(index % panels * tile.columns, emit.number(columns - tile.columns))
            column, see_column = emit.bind("first_column", start)

            def some(i: Any) -> list[Any]:
                last = emit.number(rows - tile.rows)
                row, see_row = emit.bind("first_row", tirx.min(i * tile.rows, last))
                return [see_row, *self._tile(tile, at, row, column, profile.lanes)]

            return [see_column, emit.serial(math.ceil(rows / tile.rows), some, "tile")]

        return [emit.parallel(math.prod(batch) * panels, task)]

    def _tile(
        self, tile: RowTile, at: Sequence[Any], row: Any, column: Any, lanes: int
    ) -> list[Any]:
        sums = {
            (i, j): emit.allocate("sums", lanes)
            for i in range(tile.rows)
            for j in range(tile.columns)
        }
        buffers = {place: buffer for place, (buffer, _) in sums.items()}

        def clear(buffer: Any) -> Any:
            return emit.vector(lanes, lambda lane: tirx.BufferStore(buffer, emit.zero(), [lane]))

        def add(i: int, j: int, k: Any, width: int) -> Any:
            def product(lane: Any) -> Any:
                value = self.first(at, row + i, k + lane) * self.second(at, column + j, k + lane)
                buffer = buffers[i, j]
                return tirx.BufferStore(buffer, tirx.BufferLoad(buffer, [lane]) + value, [lane])

            return emit.vector(width, product)

        def store(i: int, j: int) -> Any:
            numbers = [tirx.BufferLoad(buffers[i, j], [lane]) for lane in range(lanes)]
            total = functools.reduce(operator.add, numbers)
            return self.site.store((*at, row + emit.number(i), column + emit.number(j)), total)

        full, rest = divmod(self.depth, lanes)
        return [
            *[take for _, take in sums.values()],
            *map(clear, buffers.values()),
            emit.unrolled(full, lambda k: [add(i, j, k * lanes, lanes) for i, j in sums], "k"),
            *([add(i, j, emit.number(full * lanes), rest) for i, j in sums] if rest else []),
            *[store(i, j) for i, j in sums],
        ]
